import ca.uhn.hl7v2.HL7Exception;
import ca.uhn.hl7v2.model.AbstractMessage;
import ca.uhn.hl7v2.model.Group;
import ca.uhn.hl7v2.model.Message;
import ca.uhn.hl7v2.model.Segment;
import ca.uhn.hl7v2.util.Terser;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.List;
import java.util.Properties;

/**
 * The messages of a RIS as one writes them with HAPI's own structures: ORU^R01 2.5, MDM^T02/T04/T10 2.6, OMI^O23 2.5.1.
 *
 * <p>What differs between two messages comes as properties; what a property may get wrong (orc1, obx11, event, version)
 * the message gets wrong. PRT is younger than these versions, and is put in as HAPI has it for such segments.
 */
final class Writer {
    private static final List<String> NO = List.of("CONNEXION_SECRETE", "MODIF_CONF_CODE", "DESTMSSANTEPS",
            "DESTMSSANTEPAT", "ACK_RECEPTION", "ACK_LECTURE_MSS");

    private final Properties facts;

    Writer(Properties facts) {
        this.facts = facts;
    }

    Message message() throws HL7Exception, IOException {
        return switch (fact("kind")) {
            case "ORU" -> oru();
            case "MDM" -> mdm();
            case "OMI" -> omi();
            default -> throw new IllegalArgumentException("kind " + fact("kind"));
        };
    }

    private Message oru() throws HL7Exception, IOException {
        var message = new ca.uhn.hl7v2.model.v25.message.ORU_R01();
        message.initQuickstart("ORU", "R01", "P");
        header(message, message.getMSH());
        var result = message.getPATIENT_RESULT();
        if (!"PID".equals(fact("omit"))) {
            patient(result.getPATIENT().getPID());
        }
        visit(result.getPATIENT().getVISIT().getPV1());
        var order = result.getORDER_OBSERVATION();
        Terser.set(order.getORC(), 1, 0, 1, 1, fact("orc1"));
        order(order.getOBR());
        var first = order.getOBSERVATION(0);
        document(first.getOBX(), "TEXT");
        sender(first);
        int number = 1;
        for (String[] flag : flags()) {
            flag(order.getOBSERVATION(number).getOBX(), ++number, "CE", flag);
        }
        return message;
    }

    private Message mdm() throws HL7Exception, IOException {
        var message = new ca.uhn.hl7v2.model.v26.message.MDM_T02();
        message.initQuickstart("MDM", fact("event"), "P");
        header(message, message.getMSH());
        Terser.set(message.getMSH(), 9, 0, 3, 1, "MDM_T02");
        Terser.set(message.getEVN(), 2, 0, 1, 1, "20261120113000");
        patient(message.getPID());
        visit(message.getPV1());
        Terser.set(message.getCOMMON_ORDER().getORC(), 1, 0, 1, 1, fact("orc1"));
        order(message.getCOMMON_ORDER().getOBR());
        Segment txa = message.getTXA();
        Terser.set(txa, 1, 0, 1, 1, "1");
        Terser.set(txa, 2, 0, 1, 1, "18748-4");
        Terser.set(txa, 3, 0, 1, 1, "TEXT");
        Terser.set(txa, 12, 0, 1, 1, fact("document"));
        Terser.set(txa, 13, 0, 1, 1, fact("replaced"));
        Terser.set(txa, 17, 0, 1, 1, "AU");
        var first = message.getOBSERVATION(0);
        document(first.getOBX(), "text");
        sender(first);
        int number = 1;
        for (String[] flag : flags()) {
            flag(message.getOBSERVATION(number).getOBX(), ++number, "CWE", flag);
        }
        return message;
    }

    private Message omi() throws HL7Exception, IOException {
        var message = new ca.uhn.hl7v2.model.v251.message.OMI_O23();
        message.initQuickstart("OMI", "O23", "P");
        header(message, message.getMSH());
        patient(message.getPATIENT().getPID());
        visit(message.getPATIENT().getPATIENT_VISIT().getPV1());
        var order = message.getORDER();
        Terser.set(order.getORC(), 1, 0, 1, 1, fact("orc1"));
        order(order.getOBR());
        Segment obx = order.getOBSERVATION().getOBX();
        Terser.set(obx, 1, 0, 1, 1, "1");
        Terser.set(obx, 2, 0, 1, 1, "ST");
        Terser.set(obx, 3, 0, 1, 1, "Modification Examen Imagerie");
        Segment ipc = order.getIPC();
        Terser.set(ipc, 1, 0, 1, 1, fact("accession"));
        Terser.set(ipc, 2, 0, 1, 1, "PACS_SOURCE");
        Terser.set(ipc, 3, 0, 1, 1, fact("study"));
        Terser.set(ipc, 4, 0, 1, 1, "1");
        return message;
    }

    private void header(AbstractMessage message, Segment msh) throws HL7Exception {
        Terser.set(msh, 3, 0, 1, 1, "RIS-HAPI");
        Terser.set(msh, 4, 0, 1, 1, fact("facility"));
        Terser.set(msh, 5, 0, 1, 1, "DRIMBOX");
        Terser.set(msh, 6, 0, 1, 1, "CENTRE");
        Terser.set(msh, 10, 0, 1, 1, fact("control"));
        Terser.set(msh, 12, 0, 1, 1, facts.getProperty("version", message.getVersion()));
        Terser.set(msh, 15, 0, 1, 1, fact("accept"));
        Terser.set(msh, 17, 0, 1, 1, "FRA");
        Terser.set(msh, 18, 0, 1, 1, fact("charset"));
        Terser.set(msh, 21, 0, 1, 1, "2.1");
        Terser.set(msh, 21, 0, 2, 1, "CISIS_CDA_HL7_V2");
    }

    private void patient(Segment pid) throws HL7Exception {
        identifier(pid, 0, fact("ins"), "ASIP-SANTE-INS-NIR", fact("ins_oid"), "INS");
        identifier(pid, 1, fact("ipp"), "AUT-AFFECTATION", fact("ipp_root"), "PI");
        Terser.set(pid, 5, 0, 1, 1, fact("family"));
        Terser.set(pid, 5, 0, 2, 1, fact("given"));
        Terser.set(pid, 5, 0, 3, 1, fact("givens"));
        Terser.set(pid, 5, 0, 7, 1, "L");
        Terser.set(pid, 7, 0, 1, 1, fact("birth"));
        Terser.set(pid, 8, 0, 1, 1, fact("sex"));
        Terser.set(pid, 11, 0, 7, 1, "BDL");
        Terser.set(pid, 11, 0, 9, 1, fact("place"));
        Terser.set(pid, 32, 0, 1, 1, "VALI");
    }

    private static void identifier(Segment pid, int nth, String value, String name, String oid, String type)
            throws HL7Exception {
        Terser.set(pid, 3, nth, 1, 1, value);
        Terser.set(pid, 3, nth, 4, 1, name);
        Terser.set(pid, 3, nth, 4, 2, oid);
        Terser.set(pid, 3, nth, 4, 3, "ISO");
        Terser.set(pid, 3, nth, 5, 1, type);
    }

    private static void visit(Segment pv1) throws HL7Exception {
        Terser.set(pv1, 2, 0, 1, 1, "O");
        Terser.set(pv1, 19, 0, 1, 1, "000897406");
    }

    private static void order(Segment obr) throws HL7Exception {
        Terser.set(obr, 1, 0, 1, 1, "1");
        code(obr, 4);
    }

    private static void code(Segment segment, int field) throws HL7Exception {
        Terser.set(segment, field, 0, 1, 1, "18748-4");
        Terser.set(segment, field, 0, 2, 1, "CR d'imagerie médicale");
        Terser.set(segment, field, 0, 3, 1, "LN");
    }

    private void document(Segment obx, String subType) throws HL7Exception, IOException {
        byte[] payload = Files.readAllBytes(Path.of(fact("payload")));
        Terser.set(obx, 1, 0, 1, 1, "1");
        Terser.set(obx, 2, 0, 1, 1, "ED");
        code(obx, 3);
        Terser.set(obx, 5, 0, 2, 1, subType);
        Terser.set(obx, 5, 0, 3, 1, "XML");
        Terser.set(obx, 5, 0, 4, 1, "Base64");
        Terser.set(obx, 5, 0, 5, 1, Base64.getEncoder().encodeToString(payload));
        Terser.set(obx, 11, 0, 1, 1, fact("obx11"));
    }

    private void sender(Group observation) throws HL7Exception {
        String name = observation.addNonstandardSegment("PRT", 1);
        Segment prt = (Segment) observation.get(name);
        Terser.set(prt, 2, 0, 1, 1, "UC");
        Terser.set(prt, 4, 0, 1, 1, "SB");
        Terser.set(prt, 4, 0, 3, 1, "participation");
        Terser.set(prt, 5, 0, 1, 1, fact("doctor"));
        Terser.set(prt, 5, 0, 2, 1, fact("doctor_family"));
        Terser.set(prt, 5, 0, 3, 1, fact("doctor_given"));
        Terser.set(prt, 5, 0, 9, 1, "ASIP-SANTE-PS");
        Terser.set(prt, 5, 0, 9, 2, "1.2.250.1.71.4.2.1");
        Terser.set(prt, 5, 0, 9, 3, "ISO");
        Terser.set(prt, 5, 0, 10, 1, "D");
        Terser.set(prt, 5, 0, 13, 1, "RPPS");
        Terser.set(prt, 8, 0, 1, 1, fact("site_name"));
        Terser.set(prt, 8, 0, 6, 1, "ASIP-SANTE-ST");
        Terser.set(prt, 8, 0, 6, 2, "1.2.250.1.71.4.2.2");
        Terser.set(prt, 8, 0, 6, 3, "ISO");
        Terser.set(prt, 8, 0, 7, 1, "FINEG");
        Terser.set(prt, 8, 0, 10, 1, fact("site"));
    }

    private List<String[]> flags() {
        List<String[]> flags = new java.util.ArrayList<>();
        for (String code : List.of("MASQUE_PS", "INVISIBLE_PATIENT", "INVISIBLE_REP_LEGAUX")) {
            flags.add(new String[] {code, facts.getProperty(code, "N")});
        }
        NO.forEach(code -> flags.add(new String[] {code, "N"}));
        flags.add(new String[] {"DESTDMP", "Y"});
        return flags;
    }

    private static void flag(Segment obx, int number, String type, String[] flag) throws HL7Exception {
        Terser.set(obx, 1, 0, 1, 1, String.valueOf(number));
        Terser.set(obx, 2, 0, 1, 1, type);
        Terser.set(obx, 3, 0, 1, 1, flag[0]);
        Terser.set(obx, 3, 0, 2, 1, "libellé");
        Terser.set(obx, 3, 0, 3, 1, "MetaDMPMSS");
        Terser.set(obx, 5, 0, 1, 1, flag[1]);
        Terser.set(obx, 5, 0, 3, 1, "expandedYes-NoIndicator");
        Terser.set(obx, 11, 0, 1, 1, "F");
    }

    private String fact(String name) {
        return facts.getProperty(name, "");
    }
}
