import java.util.Arrays;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.stream.Collectors;

/** What the launchers of all releases share: their arguments are CONFIGDIR NAME=VALUE..., and they run until a signal. */
final class Foreground {
    private Foreground() {}

    static Map<String, String> settings(String[] args) {
        return Arrays.stream(args).skip(1).map(setting -> setting.split("=", 2)).collect(Collectors.toMap(pair -> pair[0], pair -> pair[1]));
    }

    /** Closes the node on SIGTERM. A process that a signal ends counts as failed, so the exit code is set to how the closing went. */
    static void closeOnSignal(Callable<Boolean> close) {
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            boolean closed = false;
            try {
                closed = close.call();
            } catch (Exception e) {
                e.printStackTrace();
            } finally {
                Runtime.getRuntime().halt(closed ? 0 : 1);
            }
        }));
    }

    static void forever() throws InterruptedException {
        new CountDownLatch(1).await();
    }
}
