import java.io.IOException;
import java.lang.reflect.Method;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;

import org.elasticsearch.Build;
import org.elasticsearch.client.internal.node.NodeClient;
import org.elasticsearch.cluster.service.ClusterService;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.node.Node;
import org.elasticsearch.plugins.PluginBundle;
import org.elasticsearch.plugins.PluginsLoader;
import org.elasticsearch.rest.RestChannel;
import org.elasticsearch.rest.RestController;
import org.elasticsearch.rest.RestHandler;
import org.elasticsearch.rest.RestRequest;
import org.elasticsearch.rest.RestResponse;
import org.elasticsearch.rest.RestStatus;
import org.elasticsearch.xcontent.XContentBuilder;

/**
 * Runs one node of Elasticsearch 8 or 9 in the foreground.
 *
 * <p>It is the server of the release without what the release's start script adds: no entitlements, no bootstrap checks,
 * and of the modules only those below path.home/modules. The answer to GET and HEAD / is this program's, since the module
 * that gives it is not published.
 */
final class ElasticsearchNode {
    private ElasticsearchNode() {}

    public static void main(String[] args) throws Exception {
        Settings.Builder given = Settings.builder();
        Foreground.settings(args).forEach(given::put);
        Settings settings = given.build();
        LogConfigurator.configureWithoutConfig(settings);
        LogConfigurator.configureESLogging();
        Environment environment = new Environment(settings, Path.of(args[0]));
        Set<PluginBundle> modules = modules(Path.of(settings.get("path.home"), "modules"));
        Node node = new Node(environment, PluginsLoader.createPluginsLoader(modules, Set.of(), Map.of(), false));
        node.injector().getInstance(RestController.class).registerHandler(new Welcome(node));
        Foreground.closeOnSignal(() -> {
            node.close();
            return node.awaitClose(20, TimeUnit.SECONDS);
        });
        node.start();
        Foreground.forever();
    }

    /** Reads the modules, by a method to which releases of version 9 have added an argument. */
    @SuppressWarnings("unchecked")
    private static Set<PluginBundle> modules(Path folder) throws ReflectiveOperationException {
        try {
            Method older = PluginsLoader.class.getMethod("loadModulesBundles", Path.class);
            return (Set<PluginBundle>) older.invoke(null, folder);
        } catch (NoSuchMethodException e) {
            Method newer = PluginsLoader.class.getMethod("loadModulesBundles", Path.class, boolean.class);
            return (Set<PluginBundle>) newer.invoke(null, folder, false);
        }
    }

    /** Says which server this is, in those members of the release's answer that clients look at. */
    private record Welcome(Node node) implements RestHandler {
        @Override
        public List<Route> routes() {
            return List.of(new Route(RestRequest.Method.GET, "/"), new Route(RestRequest.Method.HEAD, "/"));
        }

        @Override
        public void handleRequest(RestRequest request, RestChannel channel, NodeClient client) throws IOException {
            ClusterService cluster = node.injector().getInstance(ClusterService.class);
            XContentBuilder answer = channel.newBuilder().startObject();
            answer.field("name", cluster.getNodeName());
            answer.field("cluster_name", cluster.getClusterName().value());
            answer.field("cluster_uuid", cluster.state().metadata().clusterUUID());
            answer.startObject("version");
            answer.field("number", Build.current().qualifiedVersion());
            answer.field("build_flavor", Build.current().flavor());
            answer.field("build_hash", Build.current().hash());
            answer.endObject();
            answer.field("tagline", "You Know, for Search");
            channel.sendResponse(new RestResponse(RestStatus.OK, answer.endObject()));
        }
    }
}
