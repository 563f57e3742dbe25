import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.imps.CuratorFrameworkBase;
import org.apache.curator.retry.RetryForever;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.data.Stat;
import org.apache.zookeeper.server.quorum.QuorumPeer.QuorumServer;
import org.apache.zookeeper.server.quorum.flexible.QuorumMaj;
import org.apache.zookeeper.server.quorum.flexible.QuorumVerifier;

/**
 * Curator's reconfig, getConfig and ensemble tracker, on an ensemble of three that a fourth server follows.
 *
 * <p>CuratorReconfig HOST:PORT,... [CASE...]
 *
 * <p>The environment is that of kazoo_reconfig.py.
 */
public final class CuratorReconfig {
    private static final List<String> MEMBERS = List.of(System.getenv("RECONFIG_MEMBERS").split(","));
    private static final String JOINING = System.getenv("RECONFIG_JOINING");
    private static final String SUPER = System.getenv("RECONFIG_SUPER");
    private static final int WAIT_SECONDS = 30;
    private static String address;

    private interface Case {
        void run(CuratorFramework superuser) throws Exception;
    }

    public static void main(String[] arguments) {
        address = arguments[0];
        Map<String, Case> cases = new LinkedHashMap<>();
        cases.put("onlyTheSuperuserMay", CuratorReconfig::onlyTheSuperuserMay);
        cases.put("oneJoinsAndLeaves", CuratorReconfig::oneJoinsAndLeaves);
        cases.put("allMembersAreReplaced", CuratorReconfig::allMembersAreReplaced);
        cases.put("theTrackerFollows", CuratorReconfig::theTrackerFollows);
        cases.put("whatCannotBeDoneIsRefused", CuratorReconfig::whatCannotBeDoneIsRefused);
        List<String> wanted = Arrays.asList(arguments).subList(1, arguments.length);
        if (!wanted.isEmpty()) {
            cases.keySet().retainAll(wanted);
        }
        System.out.println("plan " + cases.size());
        boolean failed = false;
        for (Map.Entry<String, Case> entry : cases.entrySet()) {
            failed |= !passes(entry.getKey(), entry.getValue());
        }
        System.exit(failed ? 1 : 0);
    }

    private static boolean passes(String name, Case body) {
        try (CuratorFramework superuser = connect(true)) {
            body.run(superuser);
            System.out.println("ok " + name);
            return true;
        } catch (Throwable error) {
            error.printStackTrace(System.out);
            System.out.println("not ok " + name + ": " + error.toString().replace('\n', ' '));
            return false;
        }
    }

    private static void onlyTheSuperuserMay(CuratorFramework superuser) throws Exception {
        try (CuratorFramework nobody = connect(false)) {
            refused(KeeperException.NoAuthException.class, () -> nobody.reconfig().joining(JOINING).forEnsemble());
            equal(numbers(nobody.getConfig().forEnsemble()), "[1, 2, 3]");
        }
    }

    private static void oneJoinsAndLeaves(CuratorFramework superuser) throws Exception {
        List<String> events = new ArrayList<>();
        try (CuratorFramework other = connect(false)) {
            other.getConfig()
                    .usingWatcher((org.apache.zookeeper.Watcher) event -> {
                        synchronized (events) {
                            events.add(event.getType() + " " + event.getPath());
                        }
                    })
                    .forEnsemble();
            Stat stat = new Stat();
            byte[] config = superuser.reconfig().joining(JOINING).storingStatIn(stat).forEnsemble();
            equal(numbers(config), "[1, 2, 3, 4]");
            equal(stat.getMzxid(), version(config));
            until("the watch is told", () -> {
                synchronized (events) {
                    return events.equals(List.of("NodeDataChanged /zookeeper/config"));
                }
            });
            equal(text(superuser.getConfig().forEnsemble()), text(config));
            config = superuser.reconfig().leaving("4").fromConfig(version(config)).forEnsemble();
            equal(numbers(config), "[1, 2, 3]");
        }
    }

    private static void allMembersAreReplaced(CuratorFramework superuser) throws Exception {
        List<String> four = new ArrayList<>(MEMBERS);
        four.add(JOINING);
        equal(numbers(superuser.reconfig().withNewMembers(four).forEnsemble()), "[1, 2, 3, 4]");
        equal(numbers(superuser.reconfig().withNewMembers(MEMBERS).forEnsemble()), "[1, 2, 3]");
    }

    /** The connect string of a client follows the members without a word from anybody. */
    private static void theTrackerFollows(CuratorFramework superuser) throws Exception {
        String client = JOINING.split(";")[1];
        try (CuratorFramework other = connect(false)) {
            superuser.reconfig().joining(JOINING).forEnsemble();
            until("the fourth is in " + connectString(other), () -> connectString(other).contains(client));
            equal(((CuratorFrameworkBase) other).getCurrentConfig().getAllMembers().size(), 4);
            superuser.reconfig().leaving("4").forEnsemble();
            until("the fourth is not in " + connectString(other), () -> !connectString(other).contains(client));
            other.getData().forPath("/");
        }
    }

    private static void whatCannotBeDoneIsRefused(CuratorFramework superuser) throws Exception {
        String before = text(superuser.getConfig().forEnsemble());
        refused(
                KeeperException.BadVersionException.class,
                () -> superuser.reconfig().joining(JOINING).fromConfig(7).forEnsemble());
        refused(
                KeeperException.BadArgumentsException.class,
                () -> superuser.reconfig().joining("server.5=127.0.0.1:1:2").forEnsemble());
        refused(
                KeeperException.BadArgumentsException.class,
                () -> superuser.reconfig().leaving("1", "2").forEnsemble());
        refused(
                KeeperException.NewConfigNoQuorum.class,
                () -> superuser.reconfig()
                        .withNewMembers(nobody(7), nobody(8), nobody(9))
                        .forEnsemble());
        equal(text(superuser.getConfig().forEnsemble()), before);
    }

    private static String nobody(int number) {
        return String.format("server.%1$d=127.0.0.1:%1$d1:%1$d2;127.0.0.1:%1$d3", number);
    }

    private static String connectString(CuratorFramework client) {
        return client.getZookeeperClient().getCurrentConnectionString();
    }

    private static CuratorFramework connect(boolean isSuperuser) throws InterruptedException {
        CuratorFrameworkFactory.Builder builder = CuratorFrameworkFactory.builder()
                .connectString(address)
                .sessionTimeoutMs(15000)
                .connectionTimeoutMs(10000)
                .retryPolicy(new RetryForever(100));
        if (isSuperuser) {
            builder.authorization("digest", SUPER.getBytes(StandardCharsets.UTF_8));
        }
        CuratorFramework client = builder.build();
        client.start();
        if (!client.blockUntilConnected(WAIT_SECONDS, TimeUnit.SECONDS)) {
            throw new AssertionError("no connection");
        }
        return client;
    }

    private static QuorumVerifier parsed(byte[] config) throws Exception {
        java.util.Properties properties = new java.util.Properties();
        properties.load(new java.io.StringReader(text(config)));
        return new QuorumMaj(properties);
    }

    private static String numbers(byte[] config) throws Exception {
        Map<Long, QuorumServer> members = parsed(config).getAllMembers();
        return new TreeSet<>(members.keySet()).toString();
    }

    private static long version(byte[] config) throws Exception {
        return parsed(config).getVersion();
    }

    private static String text(byte[] config) {
        return new String(config, StandardCharsets.UTF_8);
    }

    private static void refused(Class<? extends Exception> expected, Callable<?> body) throws Exception {
        try {
            body.call();
        } catch (Exception error) {
            if (expected.isInstance(error)) {
                return;
            }
            throw error;
        }
        throw new AssertionError("no " + expected.getSimpleName());
    }

    private static void until(String what, Callable<Boolean> condition) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(WAIT_SECONDS);
        while (!condition.call()) {
            if (System.nanoTime() > deadline) {
                throw new AssertionError("still not so: " + what);
            }
            Thread.sleep(20);
        }
    }

    private static void equal(Object found, Object expected) {
        if (!found.equals(expected)) {
            throw new AssertionError("found " + found + ", expected " + expected);
        }
    }
}
