import ca.uhn.hl7v2.DefaultHapiContext;
import ca.uhn.hl7v2.HL7Exception;
import ca.uhn.hl7v2.HapiContext;
import ca.uhn.hl7v2.app.Connection;
import ca.uhn.hl7v2.llp.MinLowerLayerProtocol;
import ca.uhn.hl7v2.model.GenericMessage;
import ca.uhn.hl7v2.model.Message;
import ca.uhn.hl7v2.parser.GenericModelClassFactory;
import ca.uhn.hl7v2.util.Terser;
import ca.uhn.hl7v2.validation.impl.ValidationContextFactory;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.Reader;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;

/**
 * A RIS that speaks HL7 v2 through HAPI: one command a line on the standard input, one line of JSON for each.
 *
 * <pre>
 * send   HOST PORT plain|tls FILE...     one message per properties file, all on one connection: the ACKs
 * flood  HOST PORT plain|tls N M FILE    N connections at once, M messages on each: the ACKs
 * parse  CHARSET FILE                    what HAPI reads in a file
 * </pre>
 *
 * <p>Parts are cut at tabs. An error is answered as {"error": text}. It ends when its standard input closes. TLS keys
 * and trust are the Java machine's own settings (javax.net.ssl.*).
 */
public final class Ris {
    private static final int ANSWER_WITHIN_S = 30;

    private final HapiContext context = new DefaultHapiContext();
    private final HapiContext plain = new DefaultHapiContext(new GenericModelClassFactory());

    private Ris() {
        // MSH-18 decides the bytes of what is sent and read.
        context.setLowerLayerProtocol(new MinLowerLayerProtocol(true));
        context.setValidationContext(ValidationContextFactory.defaultValidation());
        // A segment left out is left out, not sent empty.
        context.getParserConfiguration().setEncodeEmptyMandatoryFirstSegments(false);
        plain.setValidationContext(ValidationContextFactory.noValidation());
    }

    public static void main(String[] args) throws Exception {
        System.out.println("{\"ready\":true}");
        Ris ris = new Ris();
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            System.out.println(Json.of(ris.carryOut(line.split("\t"))));
        }
        System.exit(0);
    }

    private Object carryOut(String[] parts) {
        try {
            return switch (parts[0]) {
                case "send" -> send(parts);
                case "flood" -> flood(parts);
                case "parse" -> Reading.of(parse(Charset.forName(parts[1]), Path.of(parts[2])));
                default -> throw new IllegalArgumentException("command " + parts[0]);
            };
        } catch (Exception error) {
            return Map.of("error", error.toString());
        }
    }

    private Object send(String[] parts) throws Exception {
        Connection connection = connect(parts);
        try {
            List<Object> answers = new ArrayList<>();
            for (int each = 4; each < parts.length; each++) {
                answers.add(exchange(connection, new Writer(read(parts[each])).message()));
            }
            return answers;
        } finally {
            connection.close();
        }
    }

    private Object flood(String[] parts) throws Exception {
        int connections = Integer.parseInt(parts[4]);
        int messages = Integer.parseInt(parts[5]);
        ExecutorService threads = Executors.newFixedThreadPool(connections);
        List<Future<List<Object>>> running = new ArrayList<>();
        for (int number = 0; number < connections; number++) {
            running.add(threads.submit(one(parts, "C" + number + "-", messages)));
        }
        List<Object> answers = new ArrayList<>();
        for (Future<List<Object>> each : running) {
            answers.addAll(each.get());
        }
        threads.shutdown();
        return answers;
    }

    private Callable<List<Object>> one(String[] parts, String prefix, int messages) {
        return () -> {
            // A context of its own, for HAPI keeps one connection for each address in a context; with threads of its own,
            // for closing a context ends its threads.
            try (HapiContext own = new DefaultHapiContext(Executors.newCachedThreadPool())) {
                own.setLowerLayerProtocol(new MinLowerLayerProtocol(true));
                Connection connection = own.newClient(parts[1], Integer.parseInt(parts[2]), "tls".equals(parts[3]));
                connection.getInitiator().setTimeout(ANSWER_WITHIN_S, TimeUnit.SECONDS);
                List<Object> answers = new ArrayList<>();
                for (int number = 0; number < messages; number++) {
                    Properties facts = read(parts[6]);
                    facts.setProperty("control", prefix + number);
                    answers.add(exchange(connection, new Writer(facts).message()));
                }
                return answers;
            }
        };
    }

    private Connection connect(String[] parts) throws HL7Exception {
        Connection connection = context.newClient(parts[1], Integer.parseInt(parts[2]), "tls".equals(parts[3]));
        connection.getInitiator().setTimeout(ANSWER_WITHIN_S, TimeUnit.SECONDS);
        return connection;
    }

    private static Map<String, Object> exchange(Connection connection, Message message) throws Exception {
        Message answer = connection.getInitiator().sendAndReceive(message);
        Terser terser = new Terser(answer);
        Map<String, Object> told = new LinkedHashMap<>();
        told.put("sent", new Terser(message).get("/.MSH-10"));
        told.put("class", answer.getClass().getName());
        for (String path : List.of("MSH-3", "MSH-4", "MSH-5", "MSH-6", "MSH-9-1", "MSH-9-2", "MSH-9-3", "MSH-11", "MSH-12",
                "MSH-17", "MSH-18", "MSA-1", "MSA-2")) {
            told.put(path, terser.get("/." + path));
        }
        if (List.of(answer.getNames()).contains("ERR") && answer.getAll("ERR").length > 0) {
            for (String path : List.of("ERR-2-1", "ERR-2-3", "ERR-3-1", "ERR-3-2", "ERR-3-3", "ERR-4", "ERR-5-1", "ERR-8")) {
                told.put(path, terser.get("/." + path));
            }
        }
        return told;
    }

    private static Properties read(String file) throws Exception {
        Properties facts = new Properties();
        try (Reader reader = Files.newBufferedReader(Path.of(file))) {
            facts.load(reader);
        }
        return facts;
    }

    /** Without a structure, so that segments stay in their order; segments end at CR, which HAPI insists on. */
    private Message parse(Charset charset, Path file) throws Exception {
        String text = Files.readString(file, charset).replaceAll("\r?\n", "\r");
        Message message = plain.getPipeParser().parse(text);
        if (!(message instanceof GenericMessage)) {
            throw new IllegalStateException("expected a message without structure, got " + message.getClass());
        }
        return message;
    }
}
