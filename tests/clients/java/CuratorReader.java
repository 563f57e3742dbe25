import java.io.BufferedReader;
import java.io.InputStreamReader;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.retry.RetryOneTime;
import org.apache.zookeeper.KeeperException;

/**
 * A Curator client that may be served read-only. It prints the states of its connection, and does what it reads from
 * its input, a line each: `get PATH` and `set PATH DATA`.
 *
 * <p>CuratorReader HOST:PORT[,HOST:PORT...]
 */
public class CuratorReader {
    public static void main(String[] arguments) throws Exception {
        CuratorFramework client =
                CuratorFrameworkFactory.builder()
                        .connectString(arguments[0])
                        .sessionTimeoutMs(10000)
                        .connectionTimeoutMs(10000)
                        .retryPolicy(new RetryOneTime(10))
                        .canBeReadOnly(true)
                        .build();
        client.getConnectionStateListenable().addListener((from, state) -> say("state " + state));
        client.start();
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            String[] words = line.split(" ");
            try {
                if (words[0].equals("get")) {
                    say("got " + new String(client.getData().forPath(words[1])));
                } else {
                    client.setData().forPath(words[1], words[2].getBytes());
                    say("set");
                }
            } catch (KeeperException refused) {
                say("error " + refused.code());
            }
        }
        client.close();
    }

    private static synchronized void say(String text) {
        System.out.println(text);
        System.out.flush();
    }
}
