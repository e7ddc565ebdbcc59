import java.nio.file.Path;
import java.util.concurrent.TimeUnit;

import org.opensearch.common.logging.LogConfigurator;
import org.opensearch.common.settings.Settings;
import org.opensearch.env.Environment;
import org.opensearch.node.Node;

/**
 * Runs one node of OpenSearch 2 or 3 in the foreground.
 *
 * <p>It is the server of the release without what the release's start script adds: no security manager or agent, no
 * bootstrap checks, and of the modules only those below path.home/modules.
 */
final class OpenSearchNode {
    private OpenSearchNode() {}

    public static void main(String[] args) throws Exception {
        Settings.Builder given = Settings.builder();
        Foreground.settings(args).forEach(given::put);
        Settings settings = given.build();
        LogConfigurator.configureWithoutConfig(settings);
        Node node = new Node(new Environment(settings, Path.of(args[0])));
        Foreground.closeOnSignal(() -> {
            node.close();
            return node.awaitClose(20, TimeUnit.SECONDS);
        });
        node.start();
        Foreground.forever();
    }
}
