import ca.uhn.hl7v2.HL7Exception;
import ca.uhn.hl7v2.model.Group;
import ca.uhn.hl7v2.model.Message;
import ca.uhn.hl7v2.model.Segment;
import ca.uhn.hl7v2.model.Structure;
import ca.uhn.hl7v2.model.Type;
import ca.uhn.hl7v2.util.Terser;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What HAPI read in a message, as plain lists: segments in order, fields, repetitions, components, subcomponents. */
final class Reading {
    private Reading() {}

    static List<Map<String, Object>> of(Message message) throws HL7Exception {
        List<Map<String, Object>> segments = new ArrayList<>();
        collect(message, segments);
        return segments;
    }

    private static void collect(Group group, List<Map<String, Object>> into) throws HL7Exception {
        for (String name : group.getNames()) {
            for (Structure each : group.getAll(name)) {
                if (each instanceof Group inner) {
                    collect(inner, into);
                } else if (!each.isEmpty()) {
                    into.add(segment((Segment) each));
                }
            }
        }
    }

    private static Map<String, Object> segment(Segment segment) throws HL7Exception {
        Map<String, Object> read = new LinkedHashMap<>();
        List<Object> fields = new ArrayList<>();
        for (int number = 1; number <= segment.numFields(); number++) {
            List<Object> repetitions = new ArrayList<>();
            for (Type repetition : segment.getField(number)) {
                repetitions.add(components(repetition));
            }
            fields.add(repetitions);
        }
        read.put("name", segment.getName());
        read.put("fields", fields);
        return read;
    }

    private static List<Object> components(Type type) {
        List<Object> components = new ArrayList<>();
        for (int component = 1; component <= Terser.numComponents(type); component++) {
            List<Object> parts = new ArrayList<>();
            for (int part = 1; part <= Terser.numSubComponents(type, component); part++) {
                String value = Terser.getPrimitive(type, component, part).getValue();
                parts.add(value == null ? "" : value);
            }
            components.add(parts);
        }
        return components;
    }
}
