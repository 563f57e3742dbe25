import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.List;
import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooKeeper;

/**
 * Apache's client, which watches three nodes in three ways and says what it learns of their children:
 *
 * <pre>
 * once NAMES        by a watch of one event on /once, set again with each list; after a reconnection only by that
 * flat NAMES        by a persistent watch on /flat, and a list at each event and reconnection
 * deep event NAME   by a persistent recursive watch on /deep
 * deep NAMES        by a list at a reconnection, behind which the watch is there again
 * connected N       for the Nth time; the lists of that moment come behind it
 * lost              the connection, or the session: the latter ends the process
 * </pre>
 *
 * It ends with its input.
 */
public final class WatchClient {
    private static ZooKeeper client;
    private static int connections;

    private WatchClient() {}

    public static void main(String[] arguments) throws Exception {
        client = new ZooKeeper(arguments[0], 60_000, WatchClient::onState);
        client.addWatch("/flat", event -> onEvent(event, () -> list("flat")), AddWatchMode.PERSISTENT);
        client.addWatch("/deep", event -> onEvent(event, () -> onDeep(event)), AddWatchMode.PERSISTENT_RECURSIVE);
        once();
        list("flat");
        list("deep");
        say("ready");
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        while (input.readLine() != null) {
            continue;
        }
        client.close();
    }

    private static synchronized void say(String line) {
        System.out.println(line);
        System.out.flush();
    }

    private static void onState(WatchedEvent event) {
        if (event.getState() == KeeperState.SyncConnected) {
            connections++;
            say("connected " + connections);
            if (connections > 1) {
                list("flat");
                list("deep");
            }
        } else {
            say("lost " + event.getState());
            if (event.getState() == KeeperState.Expired) {
                System.exit(1);
            }
        }
    }

    private static void onEvent(WatchedEvent event, Runnable act) {
        if (event.getType() != EventType.None) {
            act.run();
        }
    }

    private static void onDeep(WatchedEvent event) {
        if (event.getType() == EventType.NodeCreated) {
            say("deep event " + event.getPath().substring("/deep/".length()));
        }
    }

    private static void names(String kind, List<String> names) {
        say(kind + " " + String.join(" ", names));
    }

    /** Lists without waiting: events are delivered by the same thread as answers. */
    private static void list(String kind) {
        client.getChildren("/" + kind, false, (code, path, context, found) -> {
            if (code == 0) {
                names(kind, found);
            }
        }, null);
    }

    private static void once() {
        Watcher again = event -> onEvent(event, WatchClient::once);
        client.getChildren("/once", again, (code, path, context, found) -> {
            if (code == 0) {
                names("once", found);
            } else {
                once();
            }
        }, null);
    }
}
