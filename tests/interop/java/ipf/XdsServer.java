import jakarta.activation.DataHandler;
import jakarta.mail.util.ByteArrayDataSource;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.camel.Exchange;
import org.apache.camel.builder.RouteBuilder;
import org.apache.camel.impl.DefaultCamelContext;
import org.apache.catalina.Context;
import org.apache.catalina.startup.Tomcat;
import org.apache.cxf.Bus;
import org.apache.cxf.BusFactory;
import org.apache.cxf.transport.servlet.CXFNonSpringServlet;
import org.openehealth.ipf.commons.ihe.xds.core.requests.DocumentReference;
import org.openehealth.ipf.commons.ihe.xds.core.requests.ProvideAndRegisterDocumentSet;
import org.openehealth.ipf.commons.ihe.xds.core.requests.QueryRegistry;
import org.openehealth.ipf.commons.ihe.xds.core.requests.RegisterDocumentSet;
import org.openehealth.ipf.commons.ihe.xds.core.requests.RetrieveDocumentSet;
import org.openehealth.ipf.commons.ihe.xds.core.responses.RetrievedDocument;
import org.openehealth.ipf.commons.ihe.xds.core.responses.RetrievedDocumentSet;
import org.openehealth.ipf.commons.ihe.xds.core.responses.Status;
import org.openehealth.ipf.platform.camel.ihe.xds.XdsCamelValidators;

/**
 * An XDS repository and registry whose protocol side is IPF's: SOAP, WS-Addressing, MTOM, ebXML and the IHE checks of
 * every request and answer. Only what is remembered between two calls is ours, in {@link Contents}.
 *
 * <p>Plain HTTP on a free loopback port, one address a transaction as IPF wants it: /provide is ITI-41, /retrieve ITI-43,
 * /registry ITI-18, /update ITI-57. Prints one line {"port": N} when ready, and ends when its standard input closes, so
 * that it never outlives the test that started it.
 */
public final class XdsServer {
    static final String REPOSITORY = "1.2.250.1.213.4.1.1.1.2";

    private final Contents contents = new Contents(REPOSITORY);

    public static void main(String[] args) throws Exception {
        new XdsServer().run();
    }

    private void run() throws Exception {
        Bus bus = BusFactory.newInstance().createBus();
        BusFactory.setDefaultBus(bus);
        Tomcat tomcat = tomcat(bus);
        tomcat.start();
        try (DefaultCamelContext camel = new DefaultCamelContext()) {
            camel.addRoutes(routes());
            camel.start();
            System.out.println("{\"port\": " + tomcat.getConnector().getLocalPort() + "}");
            waitForEndOfInput();
        }
        tomcat.stop();
        System.exit(0);
    }

    private static Tomcat tomcat(Bus bus) throws IOException {
        Path base = Files.createTempDirectory("ipf-xds"); // under java.io.tmpdir, which is the test's own folder
        Tomcat tomcat = new Tomcat();
        tomcat.setBaseDir(base.toString());
        tomcat.getConnector().setPort(0);
        tomcat.getConnector().setProperty("address", "127.0.0.1");
        tomcat.getConnector().setProperty("maxThreads", "8");
        CXFNonSpringServlet servlet = new CXFNonSpringServlet();
        servlet.setBus(bus);
        Context context = tomcat.addContext("", base.toString());
        Tomcat.addServlet(context, "cxf", servlet).setLoadOnStartup(1);
        context.addServletMappingDecoded("/*", "cxf");
        return tomcat;
    }

    private RouteBuilder routes() {
        return new RouteBuilder() {
            @Override
            public void configure() {
                errorHandler(noErrorHandler());
                from("xds-iti41:provide?audit=false")
                        .process(XdsCamelValidators.iti41RequestValidator())
                        .process(XdsServer.this::provide)
                        .process(XdsCamelValidators.iti41ResponseValidator());
                from("xds-iti43:retrieve?audit=false")
                        .process(XdsCamelValidators.iti43RequestValidator())
                        .process(XdsServer.this::retrieve)
                        .process(XdsCamelValidators.iti43ResponseValidator());
                from("xds-iti18:registry?audit=false")
                        .process(XdsCamelValidators.iti18RequestValidator())
                        .process(XdsServer.this::query)
                        .process(XdsCamelValidators.iti18ResponseValidator());
                from("xds-iti57:update?audit=false")
                        .process(XdsCamelValidators.iti57RequestValidator())
                        .process(XdsServer.this::update)
                        .process(XdsCamelValidators.iti57ResponseValidator());
            }
        };
    }

    private void provide(Exchange exchange) throws IOException {
        answer(exchange, contents.provide(exchange.getIn().getBody(ProvideAndRegisterDocumentSet.class)));
    }

    private void query(Exchange exchange) {
        answer(exchange, contents.query(exchange.getIn().getBody(QueryRegistry.class)));
    }

    private void update(Exchange exchange) {
        answer(exchange, contents.update(exchange.getIn().getBody(RegisterDocumentSet.class)));
    }

    private void retrieve(Exchange exchange) {
        RetrievedDocumentSet found = new RetrievedDocumentSet(Status.SUCCESS);
        for (DocumentReference wanted : exchange.getIn().getBody(RetrieveDocumentSet.class).getDocuments()) {
            Contents.Kept kept = contents.byUniqueId(wanted.getDocumentUniqueId());
            DataHandler data = new DataHandler(new ByteArrayDataSource(kept.content(), kept.entry().getMimeType()));
            found.getDocuments().add(new RetrievedDocument(data, wanted, null, null, kept.entry().getMimeType()));
        }
        answer(exchange, found);
    }

    private static void answer(Exchange exchange, Object body) {
        exchange.getMessage().setBody(body);
    }

    private static void waitForEndOfInput() throws IOException {
        while (System.in.read() >= 0) {
            // whatever comes is ignored: only the end counts
        }
    }
}
