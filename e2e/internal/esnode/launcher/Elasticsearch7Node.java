import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;

import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.node.Node;
import org.elasticsearch.transport.Netty4Plugin;

/**
 * Runs one node of Elasticsearch 7 in the foreground.
 *
 * <p>It is the server of the release without what the release's start script adds: no security manager, no bootstrap
 * checks, and no module but the HTTP server. What loads modules out of a folder is not published for this release, so
 * that one is on the class path and is named to the constructor.
 */
final class Elasticsearch7Node extends Node {
    private Elasticsearch7Node(Environment environment) {
        super(environment, List.of(Netty4Plugin.class), false);
    }

    public static void main(String[] args) throws Exception {
        Settings.Builder given = Settings.builder();
        Foreground.settings(args).forEach(given::put);
        Settings settings = given.build();
        LogConfigurator.configureWithoutConfig(settings);
        Node node = new Elasticsearch7Node(new Environment(settings, Path.of(args[0])));
        Foreground.closeOnSignal(() -> {
            node.close();
            return node.awaitClose(20, TimeUnit.SECONDS);
        });
        node.start();
        Foreground.forever();
    }
}
