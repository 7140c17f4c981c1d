import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.function.Predicate;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.Association;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.AssociationType;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.AvailabilityStatus;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.Code;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.Document;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.DocumentEntry;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.ObjectReference;
import org.openehealth.ipf.commons.ihe.xds.core.metadata.SubmissionSet;
import org.openehealth.ipf.commons.ihe.xds.core.requests.ProvideAndRegisterDocumentSet;
import org.openehealth.ipf.commons.ihe.xds.core.requests.QueryRegistry;
import org.openehealth.ipf.commons.ihe.xds.core.requests.RegisterDocumentSet;
import org.openehealth.ipf.commons.ihe.xds.core.requests.query.FindDocumentsByReferenceIdQuery;
import org.openehealth.ipf.commons.ihe.xds.core.requests.query.FindDocumentsQuery;
import org.openehealth.ipf.commons.ihe.xds.core.requests.query.GetDocumentsQuery;
import org.openehealth.ipf.commons.ihe.xds.core.requests.query.GetSubmissionSetAndContentsQuery;
import org.openehealth.ipf.commons.ihe.xds.core.requests.query.Query;
import org.openehealth.ipf.commons.ihe.xds.core.requests.query.QueryReturnType;
import org.openehealth.ipf.commons.ihe.xds.core.responses.ErrorCode;
import org.openehealth.ipf.commons.ihe.xds.core.responses.ErrorInfo;
import org.openehealth.ipf.commons.ihe.xds.core.responses.QueryResponse;
import org.openehealth.ipf.commons.ihe.xds.core.responses.Response;
import org.openehealth.ipf.commons.ihe.xds.core.responses.Severity;
import org.openehealth.ipf.commons.ihe.xds.core.responses.Status;
import org.openehealth.ipf.commons.ihe.xds.core.validate.ValidationMessage;
import org.openehealth.ipf.commons.ihe.xds.core.validate.XDSMetaDataException;

/** What the registry and repository hold, in memory: documents, sets, associations, and the rules of ITI TF-3 4.2.2. */
final class Contents {
    record Kept(DocumentEntry entry, byte[] content) {}

    private final String repositoryUniqueId;
    private final Map<String, Kept> documents = new LinkedHashMap<>(); // by entryUUID
    private final List<SubmissionSet> sets = new ArrayList<>();
    private final List<Association> associations = new ArrayList<>();

    Contents(String repositoryUniqueId) {
        this.repositoryUniqueId = repositoryUniqueId;
    }

    synchronized Response provide(ProvideAndRegisterDocumentSet request) throws IOException {
        List<Kept> taken = new ArrayList<>();
        for (Document document : request.getDocuments()) {
            taken.add(read(document));
        }
        if (taken.stream().anyMatch(kept -> known(kept.entry().getUniqueId()))) {
            return failure(ErrorCode.DUPLICATE_UNIQUE_ID_IN_REGISTRY, "a document of this uniqueId is there already");
        }
        for (Association association : request.getAssociations()) {
            if (association.getAssociationType() == AssociationType.REPLACE && !current(association.getTargetUuid())) {
                return failure(ErrorCode.REGISTRY_DEPRECATED_DOCUMENT_ERROR, "the target is not the current version");
            }
        }
        Map<String, String> uuids = new HashMap<>();
        taken.forEach(kept -> keep(kept, uuids));
        keepSet(request.getSubmissionSet(), uuids);
        request.getAssociations().forEach(association -> keepAssociation(association, uuids));
        return new Response(Status.SUCCESS);
    }

    synchronized Response update(RegisterDocumentSet request) {
        for (Association association : request.getAssociations()) {
            Kept target = documents.get(association.getTargetUuid());
            if (target == null) {
                throw new XDSMetaDataException(ValidationMessage.UNRESOLVED_REFERENCE, association.getTargetUuid());
            }
            if (association.getAssociationType() == AssociationType.UPDATE_AVAILABILITY_STATUS) {
                target.entry().setAvailabilityStatus(association.getNewStatus());
            }
        }
        return new Response(Status.SUCCESS);
    }

    synchronized QueryResponse query(QueryRegistry request) {
        QueryResponse response = new QueryResponse(Status.SUCCESS);
        Query query = request.getQuery();
        if (query instanceof GetSubmissionSetAndContentsQuery wanted) {
            contentsOfSet(wanted.getUniqueId(), response);
        } else {
            documents.values().stream().map(Kept::entry).filter(matcher(query)).forEach(response.getDocumentEntries()::add);
        }
        if (request.getReturnType() == QueryReturnType.OBJECT_REF) {
            asReferences(response);
        }
        return response;
    }

    synchronized Kept byUniqueId(String uniqueId) {
        return documents.values().stream().filter(kept -> kept.entry().getUniqueId().equals(uniqueId)).findFirst()
                .orElseThrow(() -> new IllegalArgumentException("no document " + uniqueId));
    }

    private Kept read(Document document) throws IOException {
        DocumentEntry entry = document.getDocumentEntry();
        ByteArrayOutputStream buffer = new ByteArrayOutputStream();
        document.getDataHandler().writeTo(buffer);
        byte[] content = buffer.toByteArray();
        if (entry.getSize() != null && entry.getSize() != content.length) {
            throw new XDSMetaDataException(ValidationMessage.INCORRECT_SIZE, entry.getSize(), content.length);
        }
        if (entry.getHash() != null && !entry.getHash().equals(sha1(content))) {
            throw new XDSMetaDataException(ValidationMessage.INCORRECT_HASH, entry.getHash(), sha1(content));
        }
        return new Kept(entry, content);
    }

    private boolean known(String uniqueId) {
        return documents.values().stream().anyMatch(kept -> kept.entry().getUniqueId().equals(uniqueId));
    }

    private boolean current(String uuid) {
        Kept kept = documents.get(uuid);
        return kept != null && kept.entry().getAvailabilityStatus() == AvailabilityStatus.APPROVED;
    }

    private static Response failure(ErrorCode code, String context) {
        Response response = new Response(Status.FAILURE);
        response.getErrors().add(new ErrorInfo(code, context, Severity.ERROR, null, null));
        return response;
    }

    private void keep(Kept kept, Map<String, String> uuids) {
        DocumentEntry entry = kept.entry();
        String uuid = newUuid(entry.getEntryUuid(), uuids);
        entry.setEntryUuid(uuid);
        entry.setLogicalUuid(uuid);
        entry.setAvailabilityStatus(AvailabilityStatus.APPROVED);
        entry.setRepositoryUniqueId(repositoryUniqueId);
        documents.put(uuid, kept);
    }

    private void keepSet(SubmissionSet set, Map<String, String> uuids) {
        set.setEntryUuid(newUuid(set.getEntryUuid(), uuids));
        set.setAvailabilityStatus(AvailabilityStatus.APPROVED);
        sets.add(set);
    }

    private void keepAssociation(Association association, Map<String, String> uuids) {
        association.setEntryUuid("urn:uuid:" + UUID.randomUUID());
        association.setSourceUuid(uuids.getOrDefault(association.getSourceUuid(), association.getSourceUuid()));
        association.setTargetUuid(uuids.getOrDefault(association.getTargetUuid(), association.getTargetUuid()));
        associations.add(association);
        if (association.getAssociationType() == AssociationType.REPLACE) {
            documents.get(association.getTargetUuid()).entry().setAvailabilityStatus(AvailabilityStatus.DEPRECATED);
        }
    }

    private void contentsOfSet(String uniqueId, QueryResponse response) {
        for (SubmissionSet set : sets) {
            if (!set.getUniqueId().equals(uniqueId)) {
                continue;
            }
            response.getSubmissionSets().add(set);
            for (Association association : associations) {
                if (!association.getSourceUuid().equals(set.getEntryUuid())) {
                    continue;
                }
                response.getAssociations().add(association);
                if (association.getAssociationType() == AssociationType.HAS_MEMBER) {
                    response.getDocumentEntries().add(documents.get(association.getTargetUuid()).entry());
                }
            }
        }
    }

    private static Predicate<DocumentEntry> matcher(Query query) {
        if (query instanceof GetDocumentsQuery wanted) {
            return entry -> named(wanted.getUniqueIds(), entry.getUniqueId()) || named(wanted.getUuids(), entry.getEntryUuid());
        }
        if (query instanceof FindDocumentsByReferenceIdQuery wanted) {
            return of(wanted).and(entry -> wanted.getTypedReferenceIds().getOuterList().stream()
                    .allMatch(any -> any.stream().anyMatch(entry.getReferenceIdList()::contains)));
        }
        if (query instanceof FindDocumentsQuery wanted) {
            return of(wanted);
        }
        throw new XDSMetaDataException(ValidationMessage.UNKNOWN_QUERY_TYPE, query.getType());
    }

    private static Predicate<DocumentEntry> of(FindDocumentsQuery wanted) {
        return entry -> wanted.getPatientId().equals(entry.getPatientId())
                && named(wanted.getStatus(), entry.getAvailabilityStatus())
                && coded(wanted.getFormatCodes(), List.of(entry.getFormatCode()))
                && coded(wanted.getTypeCodes(), List.of(entry.getTypeCode()))
                && coded(wanted.getClassCodes(), List.of(entry.getClassCode()))
                && (wanted.getEventCodes() == null || wanted.getEventCodes().getOuterList().stream()
                        .allMatch(any -> coded(any, entry.getEventCodeList())));
    }

    private static <T> boolean named(List<T> wanted, T value) {
        return wanted != null && wanted.contains(value);
    }

    /** An absent list asks for nothing; a code is its value and scheme, whatever its label. */
    private static boolean coded(List<Code> wanted, List<Code> present) {
        return wanted == null || wanted.isEmpty() || wanted.stream().anyMatch(one -> present.stream()
                .anyMatch(code -> one.getCode().equals(code.getCode()) && one.getSchemeName().equals(code.getSchemeName())));
    }

    private static void asReferences(QueryResponse response) {
        response.getDocumentEntries().forEach(entry -> response.getReferences().add(new ObjectReference(entry.getEntryUuid())));
        response.getSubmissionSets().forEach(set -> response.getReferences().add(new ObjectReference(set.getEntryUuid())));
        response.getDocumentEntries().clear();
        response.getSubmissionSets().clear();
        response.getAssociations().clear();
    }

    private static String newUuid(String symbolic, Map<String, String> uuids) {
        return uuids.computeIfAbsent(symbolic, ignored -> "urn:uuid:" + UUID.randomUUID());
    }

    private static String sha1(byte[] content) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-1").digest(content));
        } catch (NoSuchAlgorithmException impossible) {
            throw new IllegalStateException(impossible);
        }
    }
}
