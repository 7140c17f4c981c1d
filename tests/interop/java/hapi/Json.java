import java.util.Collection;
import java.util.Map;
import java.util.stream.Collectors;

/** Values as one line of JSON: maps, collections, numbers, booleans, null, and text for all else. */
final class Json {
    private Json() {}

    static String of(Object value) {
        if (value == null || value instanceof Number || value instanceof Boolean) {
            return String.valueOf(value);
        }
        if (value instanceof Map<?, ?> map) {
            return map.entrySet().stream().map(one -> text(String.valueOf(one.getKey())) + ":" + of(one.getValue()))
                    .collect(Collectors.joining(",", "{", "}"));
        }
        if (value instanceof Collection<?> list) {
            return list.stream().map(Json::of).collect(Collectors.joining(",", "[", "]"));
        }
        return text(value.toString());
    }

    /** ASCII only: whatever the charset of the standard output is, nothing can be lost on the way. */
    private static String text(String value) {
        StringBuilder quoted = new StringBuilder("\"");
        for (char one : value.toCharArray()) {
            if (one < 0x20 || one > 0x7e || one == '"' || one == '\\') {
                quoted.append(String.format("\\u%04x", (int) one));
            } else {
                quoted.append(one);
            }
        }
        return quoted.append('"').toString();
    }
}
