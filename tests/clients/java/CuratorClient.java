import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.api.transaction.CuratorTransactionResult;
import org.apache.curator.framework.recipes.atomic.AtomicValue;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicInteger;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.barriers.DistributedBarrier;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.CuratorCacheListener;
import org.apache.curator.framework.recipes.cache.NodeCache;
import org.apache.curator.framework.recipes.cache.PathChildrenCache;
import org.apache.curator.framework.recipes.cache.TreeCache;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.locks.InterProcessMultiLock;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreMutex;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.framework.recipes.nodes.PersistentTtlNode;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.framework.recipes.shared.SharedValue;
import org.apache.curator.framework.recipes.watch.PersistentWatcher;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.RetryForever;
import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.Watcher.WatcherType;
import org.apache.zookeeper.ZooDefs;
import org.apache.zookeeper.data.Stat;

/**
 * Curator's framework and recipes.
 *
 * <p>CuratorClient HOST:PORT [CASE...]
 */
@SuppressWarnings("deprecation")
public final class CuratorClient {
    private interface Case {
        void run(String top) throws Exception;
    }

    private static final BufferedReader INPUT = new BufferedReader(new InputStreamReader(System.in));
    private static final ExecutorService THREADS = Executors.newCachedThreadPool(CuratorClient::daemon);
    private static final int WAIT_SECONDS = 30;
    private static String address;
    private static CuratorFramework one;
    private static CuratorFramework two;

    public static void main(String[] arguments) throws Exception {
        address = arguments[0];
        List<String> wanted = Arrays.asList(arguments).subList(1, arguments.length);
        Map<String, Case> cases = new LinkedHashMap<>();
        cases.put("operations", CuratorClient::operations);
        cases.put("accessControl", CuratorClient::accessControl);
        cases.put("watches", CuratorClient::watches);
        cases.put("addedWatches", CuratorClient::addedWatches);
        cases.put("persistentWatchers", CuratorClient::persistentWatchers);
        cases.put("curatorCache", CuratorClient::curatorCache);
        cases.put("transactions", CuratorClient::transactions);
        cases.put("backgroundCalls", CuratorClient::backgroundCalls);
        cases.put("mutex", CuratorClient::mutex);
        cases.put("semaphoreMutexAndMultiLock", CuratorClient::semaphoreMutexAndMultiLock);
        cases.put("readWriteLock", CuratorClient::readWriteLock);
        cases.put("semaphore", CuratorClient::semaphore);
        cases.put("leaderLatch", CuratorClient::leaderLatch);
        cases.put("leaderSelector", CuratorClient::leaderSelector);
        cases.put("barriers", CuratorClient::barriers);
        cases.put("counters", CuratorClient::counters);
        cases.put("sharedValues", CuratorClient::sharedValues);
        cases.put("queue", CuratorClient::queue);
        cases.put("caches", CuratorClient::caches);
        cases.put("persistentNodes", CuratorClient::persistentNodes);
        cases.put("containers", CuratorClient::containers);
        cases.put("ttlNodes", CuratorClient::ttlNodes);
        cases.put("restart", CuratorClient::restart);
        cases.put("addedWatchesOverRestart", CuratorClient::addedWatchesOverRestart);
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
        try {
            one = connect();
            two = connect();
            String top = "/curator-" + name;
            one.create().forPath(top, bytes("top"));
            in(() -> {
                body.run(top);
                return null;
            }).get(60, TimeUnit.SECONDS);
            one.close();
            two.close();
            System.out.println("ok " + name);
            return true;
        } catch (Throwable error) {
            error.printStackTrace(System.out);
            Throwable cause = error.getCause() == null ? error : error.getCause();
            System.out.println("not ok " + name + ": " + cause.toString().replace('\n', ' '));
            return false;
        }
    }

    private static CuratorFramework connect() throws Exception {
        CuratorFramework client = CuratorFrameworkFactory.builder()
                .connectString(address)
                .sessionTimeoutMs(10000)
                .connectionTimeoutMs(10000)
                .retryPolicy(new RetryForever(50))
                .build();
        client.start();
        check(client.blockUntilConnected(WAIT_SECONDS, TimeUnit.SECONDS), "connected");
        return client;
    }

    // Framework

    private static void operations(String top) throws Exception {
        same(one.create().forPath(top + "/p", bytes("data")), top + "/p");
        same(made(CreateMode.EPHEMERAL_SEQUENTIAL, top + "/es-"), top + "/es-0000000001");
        same(made(CreateMode.PERSISTENT_SEQUENTIAL, top + "/s-"), top + "/s-0000000002");
        same(one.create().creatingParentsIfNeeded().forPath(top + "/a/b/c"), top + "/a/b/c");
        Stat made = new Stat();
        one.create().storingStatIn(made).withMode(CreateMode.EPHEMERAL).forPath(top + "/e", bytes("12345"));
        same(made.getDataLength(), 5);
        same(two.checkExists().forPath(top + "/e"), made);
        String guarded = one.create().withProtection().withMode(CreateMode.EPHEMERAL)
                .forPath(top + "/guarded");
        check(guarded.startsWith(top + "/_c_") && guarded.endsWith("-guarded"), guarded);
        same(one.create().orSetData().forPath(top + "/p", bytes("again")), top + "/p");
        Stat stat = new Stat();
        same(text(two.getData().storingStatIn(stat).forPath(top + "/p")), "again");
        same(stat.getVersion(), 1);
        same(one.setData().withVersion(1).forPath(top + "/p", bytes("x")).getVersion(), 2);
        fails(KeeperException.BadVersionException.class,
                () -> one.setData().withVersion(1).forPath(top + "/p"));
        fails(KeeperException.NodeExistsException.class, () -> one.create().forPath(top + "/p"));
        fails(KeeperException.NoNodeException.class, () -> one.getData().forPath(top + "/none"));
        fails(KeeperException.NotEmptyException.class, () -> one.delete().forPath(top + "/a"));
        fails(KeeperException.NoChildrenForEphemeralsException.class,
                () -> one.create().forPath(top + "/e/x"));
        one.delete().deletingChildrenIfNeeded().forPath(top + "/a");
        one.delete().quietly().forPath(top + "/a");
        one.sync().forPath(top);
        List<String> children = one.getChildren().storingStatIn(stat).forPath(top);
        same(children.size(), 5);
        same(stat.getNumChildren(), 5);
        same(two.getZookeeperClient().getZooKeeper().getAllChildrenNumber(top), 5);
        same(one.getZookeeperClient().getZooKeeper().getEphemerals(top).size(), 3);
    }

    private static String made(CreateMode mode, String path) throws Exception {
        return one.create().withMode(mode).forPath(path);
    }

    private static void accessControl(String top) throws Exception {
        same(one.getACL().forPath(top), ZooDefs.Ids.OPEN_ACL_UNSAFE);
        CuratorFramework owner = CuratorFrameworkFactory.builder().connectString(address)
                .retryPolicy(new RetryForever(50)).authorization("digest", bytes("ann:pw")).build();
        owner.start();
        owner.create().withACL(ZooDefs.Ids.CREATOR_ALL_ACL).forPath(top + "/mine", bytes("v"));
        fails(KeeperException.NoAuthException.class, () -> one.getData().forPath(top + "/mine"));
        same(text(owner.getData().forPath(top + "/mine")), "v");
        List<String> users = new ArrayList<>();
        owner.getZookeeperClient().getZooKeeper().whoAmI().forEach(
                user -> users.add(user.getAuthScheme() + " " + user.getUser()));
        Collections.sort(users);
        same(users, List.of("digest ann", "ip 127.0.0.1"));
        owner.close();
        one.getZookeeperClient().getZooKeeper().addAuthInfo("digest", bytes("super:interop"));
        same(text(one.getData().forPath(top + "/mine")), "v");
        same(one.setACL().withVersion(0).withACL(ZooDefs.Ids.READ_ACL_UNSAFE).forPath(top).getAversion(), 1);
        fails(KeeperException.NoAuthException.class, () -> two.setData().forPath(top, bytes("x")));
        fails(KeeperException.BadVersionException.class,
                () -> one.setACL().withVersion(0).withACL(ZooDefs.Ids.OPEN_ACL_UNSAFE).forPath(top));
    }

    private static void watches(String top) throws Exception {
        List<String> seen = Collections.synchronizedList(new ArrayList<>());
        String path = top + "/w";
        one.checkExists().usingWatcher(noting(seen)).forPath(path);
        two.create().forPath(path);
        until(() -> seen.equals(List.of(EventType.NodeCreated + path)), seen);
        one.getData().usingWatcher(noting(seen)).forPath(path);
        two.setData().forPath(path, bytes("1"));
        two.setData().forPath(path, bytes("2"));
        until(() -> seen.size() == 2, seen);
        one.getChildren().usingWatcher(noting(seen)).forPath(path);
        two.create().forPath(path + "/c");
        until(() -> seen.size() == 3, seen);
        one.getData().usingWatcher(noting(seen)).forPath(path + "/c");
        two.delete().forPath(path + "/c");
        until(() -> seen.size() == 4, seen);
        same(seen, List.of(EventType.NodeCreated + path, EventType.NodeDataChanged + path,
                EventType.NodeChildrenChanged + path, EventType.NodeDeleted + path + "/c"));
    }

    private static void addedWatches(String top) throws Exception {
        List<String> flat = Collections.synchronizedList(new ArrayList<>());
        List<String> deep = Collections.synchronizedList(new ArrayList<>());
        Watcher flatWatcher = watcher(flat);
        Watcher deepWatcher = watcher(deep);
        String path = top + "/n";
        one.watchers().add().withMode(AddWatchMode.PERSISTENT).usingWatcher(flatWatcher).forPath(path);
        two.watchers().add().withMode(AddWatchMode.PERSISTENT_RECURSIVE).usingWatcher(deepWatcher).forPath(path);
        two.create().forPath(path);
        two.setData().forPath(path, bytes("1"));
        two.create().forPath(path + "/c");
        two.setData().forPath(path + "/c", bytes("1"));
        two.delete().forPath(path + "/c");
        two.delete().forPath(path);
        List<String> expected = List.of(EventType.NodeCreated + path, EventType.NodeDataChanged + path,
                EventType.NodeChildrenChanged + path, EventType.NodeChildrenChanged + path,
                EventType.NodeDeleted + path);
        until(() -> flat.equals(expected), flat);
        List<String> expectedDeep = List.of(EventType.NodeCreated + path, EventType.NodeDataChanged + path,
                EventType.NodeCreated + path + "/c", EventType.NodeDataChanged + path + "/c",
                EventType.NodeDeleted + path + "/c", EventType.NodeDeleted + path);
        until(() -> deep.equals(expectedDeep), deep);
        fails(KeeperException.NoWatcherException.class, () -> one.watchers().remove(flatWatcher)
                .ofType(WatcherType.PersistentRecursive).forPath(path));
        one.watchers().remove(flatWatcher).ofType(WatcherType.Persistent).forPath(path);
        two.watchers().remove(deepWatcher).ofType(WatcherType.Any).forPath(path);
        until(() -> flat.contains(EventType.PersistentWatchRemoved + path), flat);
        until(() -> deep.contains(EventType.PersistentWatchRemoved + path), deep);
        one.create().forPath(path);
        two.sync().forPath(path);
        two.create().forPath(path + "/c");
        one.getData().forPath(path);
        same(flat.size(), 6);
        same(deep.size(), 7);
    }

    private static void persistentWatchers(String top) throws Exception {
        List<String> flat = Collections.synchronizedList(new ArrayList<>());
        List<String> deep = Collections.synchronizedList(new ArrayList<>());
        try (PersistentWatcher flatWatcher = new PersistentWatcher(one, top, false);
                PersistentWatcher deepWatcher = new PersistentWatcher(one, top, true)) {
            AtomicInteger set = new AtomicInteger();
            for (PersistentWatcher watcher : List.of(flatWatcher, deepWatcher)) {
                watcher.getResetListenable().addListener(set::incrementAndGet);
                watcher.getListenable().addListener(watcher(watcher == flatWatcher ? flat : deep)::process);
                watcher.start();
            }
            until(() -> set.get() == 2, set);
            two.create().forPath(top + "/c");
            two.setData().forPath(top + "/c", bytes("1"));
            two.setData().forPath(top, bytes("1"));
            two.delete().forPath(top + "/c");
            until(() -> flat.equals(List.of(EventType.NodeChildrenChanged + top,
                    EventType.NodeDataChanged + top, EventType.NodeChildrenChanged + top)), flat);
            until(() -> deep.equals(List.of(EventType.NodeCreated + top + "/c",
                    EventType.NodeDataChanged + top + "/c", EventType.NodeDataChanged + top,
                    EventType.NodeDeleted + top + "/c")), deep);
        }
    }

    private static void curatorCache(String top) throws Exception {
        one.create().creatingParentsIfNeeded().forPath(top + "/old/deep", bytes("d"));
        List<String> seen = Collections.synchronizedList(new ArrayList<>());
        AtomicInteger initialized = new AtomicInteger();
        try (CuratorCache cache = CuratorCache.build(one, top)) {
            cache.listenable().addListener(CuratorCacheListener.builder()
                    .forInitialized(initialized::incrementAndGet)
                    .afterInitialized()
                    .forCreates(node -> seen.add("+" + node.getPath()))
                    .forChanges((before, node) -> seen.add("=" + node.getPath() + text(node.getData())))
                    .forDeletes(node -> seen.add("-" + node.getPath()))
                    .build());
            cache.start();
            until(() -> initialized.get() == 1, "the cache is filled");
            same(cache.size(), 3);
            same(text(cache.get(top + "/old/deep").get().getData()), "d");
            String path = top + "/new";
            two.create().forPath(path, bytes("1"));
            until(() -> seen.contains("+" + path), seen);
            two.setData().forPath(path, bytes("2"));
            until(() -> seen.contains("=" + path + "2"), seen);
            two.delete().forPath(path);
            until(() -> seen.contains("-" + path), seen);
            two.delete().deletingChildrenIfNeeded().forPath(top + "/old");
            // A listener is told after the cache has changed.
            List<String> all = List.of("+" + path, "=" + path + "2", "-" + path, "-" + top + "/old/deep",
                    "-" + top + "/old");
            until(() -> seen.equals(all), seen);
            same(cache.size(), 1);
        }
    }

    private static void transactions(String top) throws Exception {
        Collection<CuratorTransactionResult> results = one.transaction().forOperations(
                one.transactionOp().check().withVersion(0).forPath(top),
                one.transactionOp().create().forPath(top + "/a", bytes("1")),
                one.transactionOp().create().withMode(CreateMode.EPHEMERAL_SEQUENTIAL).forPath(top + "/s-"),
                one.transactionOp().setData().withVersion(0).forPath(top + "/a", bytes("2")),
                one.transactionOp().create().forPath(top + "/b"),
                one.transactionOp().delete().forPath(top + "/b"));
        List<CuratorTransactionResult> list = new ArrayList<>(results);
        same(list.size(), 6);
        same(list.get(2).getResultPath(), top + "/s-0000000001");
        same(list.get(3).getResultStat().getVersion(), 1);
        fails(KeeperException.NoNodeException.class, () -> one.transaction().forOperations(
                one.transactionOp().create().forPath(top + "/c"),
                one.transactionOp().delete().forPath(top + "/none"),
                one.transactionOp().create().forPath(top + "/d")));
        same(one.checkExists().forPath(top + "/c"), null);
        same(text(one.getData().forPath(top + "/a")), "2");
    }

    private static void backgroundCalls(String top) throws Exception {
        int count = 300;
        CountDownLatch left = new CountDownLatch(count);
        List<Integer> versions = Collections.synchronizedList(new ArrayList<>());
        for (int i = 0; i < count; i++) {
            one.setData().withVersion(i).inBackground((client, event) -> {
                int code = event.getResultCode();
                versions.add(code == 0 ? event.getStat().getVersion() : code);
                left.countDown();
            }).forPath(top, bytes("" + i));
        }
        check(left.await(WAIT_SECONDS, TimeUnit.SECONDS), "all answered");
        for (int i = 0; i < count; i++) {
            same(versions.get(i), i + 1);
        }
    }

    // Locks

    private static void mutex(String top) throws Exception {
        AtomicInteger inside = new AtomicInteger();
        AtomicInteger turns = new AtomicInteger();
        List<Future<Void>> workers = new ArrayList<>();
        for (CuratorFramework client : List.of(one, two, one, two)) {
            workers.add(in(() -> {
                InterProcessMutex lock = new InterProcessMutex(client, top + "/lock");
                for (int i = 0; i < 5; i++) {
                    lock.acquire();
                    lock.acquire();
                    same(inside.incrementAndGet(), 1);
                    turns.incrementAndGet();
                    inside.decrementAndGet();
                    lock.release();
                    lock.release();
                }
                return null;
            }));
        }
        for (Future<Void> worker : workers) {
            worker.get(WAIT_SECONDS, TimeUnit.SECONDS);
        }
        same(turns.get(), 20);
        InterProcessMutex held = new InterProcessMutex(one, top + "/lock");
        InterProcessMutex late = new InterProcessMutex(two, top + "/lock");
        held.acquire();
        same(late.acquire(200, TimeUnit.MILLISECONDS), false);
        same(held.getParticipantNodes().size(), 1);
        one.close();
        check(late.acquire(WAIT_SECONDS, TimeUnit.SECONDS), "a lock ends with its session");
    }

    private static void semaphoreMutexAndMultiLock(String top) throws Exception {
        InterProcessSemaphoreMutex held = new InterProcessSemaphoreMutex(one, top + "/m");
        InterProcessSemaphoreMutex late = new InterProcessSemaphoreMutex(two, top + "/m");
        held.acquire();
        same(late.acquire(200, TimeUnit.MILLISECONDS), false);
        held.release();
        check(late.acquire(WAIT_SECONDS, TimeUnit.SECONDS), "free again");
        late.release();
        InterProcessMultiLock both = new InterProcessMultiLock(one, List.of(top + "/x", top + "/y"));
        both.acquire();
        same(new InterProcessMutex(two, top + "/y").acquire(200, TimeUnit.MILLISECONDS), false);
        both.release();
        InterProcessMutex single = new InterProcessMutex(two, top + "/y");
        check(single.acquire(WAIT_SECONDS, TimeUnit.SECONDS), "both are free");
    }

    private static void readWriteLock(String top) throws Exception {
        InterProcessReadWriteLock first = new InterProcessReadWriteLock(one, top + "/rw");
        InterProcessReadWriteLock second = new InterProcessReadWriteLock(two, top + "/rw");
        first.readLock().acquire();
        check(second.readLock().acquire(WAIT_SECONDS, TimeUnit.SECONDS), "readers share");
        Future<Boolean> writer = in(() -> new InterProcessReadWriteLock(two, top + "/rw").writeLock()
                .acquire(WAIT_SECONDS, TimeUnit.SECONDS));
        until(() -> one.getChildren().forPath(top + "/rw").size() == 3, "the writer waits in line");
        first.readLock().release();
        same(writer.isDone(), false);
        second.readLock().release();
        same(writer.get(WAIT_SECONDS, TimeUnit.SECONDS), true);
        same(first.readLock().acquire(200, TimeUnit.MILLISECONDS), false);
    }

    private static void semaphore(String top) throws Exception {
        InterProcessSemaphoreV2 mine = new InterProcessSemaphoreV2(one, top + "/s", 2);
        InterProcessSemaphoreV2 theirs = new InterProcessSemaphoreV2(two, top + "/s", 2);
        Lease first = mine.acquire();
        Lease second = theirs.acquire();
        same(theirs.acquire(200, TimeUnit.MILLISECONDS), null);
        Future<Lease> waiting = in(() -> theirs.acquire(WAIT_SECONDS, TimeUnit.SECONDS));
        first.close();
        check(waiting.get(WAIT_SECONDS, TimeUnit.SECONDS) != null, "a returned lease is taken");
        same(mine.getParticipantNodes().size(), 2);
        second.close();
    }

    // Leaders

    private static void leaderLatch(String top) throws Exception {
        LeaderLatch first = new LeaderLatch(one, top + "/l", "first");
        LeaderLatch second = new LeaderLatch(two, top + "/l", "second");
        first.start();
        check(first.await(WAIT_SECONDS, TimeUnit.SECONDS), "the first leads");
        second.start();
        until(() -> first.getParticipants().size() == 2, "both take part");
        same(second.hasLeadership(), false);
        same(second.getLeader().getId(), "first");
        first.close();
        check(second.await(WAIT_SECONDS, TimeUnit.SECONDS), "the second follows");
        second.close();
    }

    private static void leaderSelector(String top) throws Exception {
        List<String> order = Collections.synchronizedList(new ArrayList<>());
        CountDownLatch go = new CountDownLatch(1);
        List<LeaderSelector> selectors = new ArrayList<>();
        for (CuratorFramework client : List.of(one, two)) {
            String name = "s" + selectors.size();
            LeaderSelectorListenerAdapter leader = new LeaderSelectorListenerAdapter() {
                @Override
                public void takeLeadership(CuratorFramework ignored) throws Exception {
                    order.add(name);
                    go.await();
                }
            };
            LeaderSelector selector = new LeaderSelector(client, top + "/ls", leader);
            selector.setId(name);
            selector.start();
            selectors.add(selector);
            int members = selectors.size();
            until(() -> selectors.get(0).getParticipants().size() == members, "all take part");
        }
        until(() -> order.equals(List.of("s0")), order);
        same(selectors.get(1).getLeader().getId(), "s0");
        go.countDown();
        until(() -> order.equals(List.of("s0", "s1")), order);
        selectors.forEach(LeaderSelector::close);
    }

    // Barriers, counters, queues

    private static void barriers(String top) throws Exception {
        DistributedBarrier gate = new DistributedBarrier(one, top + "/gate");
        DistributedBarrier other = new DistributedBarrier(two, top + "/gate");
        gate.setBarrier();
        same(other.waitOnBarrier(200, TimeUnit.MILLISECONDS), false);
        Future<Boolean> waiting = in(() -> other.waitOnBarrier(WAIT_SECONDS, TimeUnit.SECONDS));
        gate.removeBarrier();
        same(waiting.get(WAIT_SECONDS, TimeUnit.SECONDS), true);
        List<Future<Boolean>> through = new ArrayList<>();
        for (CuratorFramework client : List.of(one, two, one)) {
            through.add(in(() -> {
                DistributedDoubleBarrier barrier = new DistributedDoubleBarrier(client, top + "/double", 3);
                return barrier.enter(WAIT_SECONDS, TimeUnit.SECONDS)
                        && barrier.leave(WAIT_SECONDS, TimeUnit.SECONDS);
            }));
        }
        for (Future<Boolean> member : through) {
            same(member.get(WAIT_SECONDS, TimeUnit.SECONDS), true);
        }
    }

    private static void counters(String top) throws Exception {
        List<Future<Void>> workers = new ArrayList<>();
        for (CuratorFramework client : List.of(one, two, one)) {
            workers.add(in(() -> {
                DistributedAtomicLong value =
                        new DistributedAtomicLong(client, top + "/n", new RetryForever(1));
                for (int i = 0; i < 20; i++) {
                    check(value.increment().succeeded(), "an increment");
                }
                return null;
            }));
        }
        for (Future<Void> worker : workers) {
            worker.get(WAIT_SECONDS, TimeUnit.SECONDS);
        }
        DistributedAtomicLong value = new DistributedAtomicLong(one, top + "/n", new RetryForever(1));
        same(value.get().postValue(), 60L);
        AtomicValue<Long> added = value.add(5L);
        same(List.of(added.preValue(), added.postValue()), List.of(60L, 65L));
        same(value.compareAndSet(60L, 1L).succeeded(), false);
        DistributedAtomicInteger small = new DistributedAtomicInteger(two, top + "/i", new RetryForever(1));
        check(small.initialize(7), "initialised");
        same(small.initialize(8), false);
        same(small.subtract(3).postValue(), 4);
    }

    private static void sharedValues(String top) throws Exception {
        SharedCount mine = new SharedCount(one, top + "/count", 3);
        SharedCount theirs = new SharedCount(two, top + "/count", 3);
        mine.start();
        theirs.start();
        mine.setCount(4);
        until(() -> theirs.getCount() == 4, "the count arrives");
        check(theirs.trySetCount(theirs.getVersionedValue(), 5), "a conditional change");
        until(() -> mine.getCount() == 5, "the count arrives");
        SharedValue value = new SharedValue(one, top + "/value", bytes("seed"));
        value.start();
        same(text(value.getValue()), "seed");
        two.setData().forPath(top + "/value", bytes("new"));
        until(() -> text(value.getValue()).equals("new"), "the value arrives");
        mine.close();
        theirs.close();
        value.close();
    }

    private static void queue(String top) throws Exception {
        SimpleDistributedQueue source = new SimpleDistributedQueue(one, top + "/q");
        SimpleDistributedQueue sink = new SimpleDistributedQueue(two, top + "/q");
        Future<byte[]> waiting = in(() -> sink.poll(WAIT_SECONDS, TimeUnit.SECONDS));
        for (String item : List.of("a", "b", "c")) {
            check(source.offer(bytes(item)), "offered");
        }
        same(text(waiting.get(WAIT_SECONDS, TimeUnit.SECONDS)), "a");
        same(text(sink.peek()), "b");
        same(text(sink.take()) + text(sink.remove()), "bc");
        same(sink.poll(), null);
    }

    // Caches and nodes

    private static void caches(String top) throws Exception {
        PathChildrenCache children = new PathChildrenCache(one, top, true);
        List<String> seen = Collections.synchronizedList(new ArrayList<>());
        children.getListenable().addListener((client, event) -> {
            if (event.getData() != null) {
                seen.add(event.getType() + " " + event.getData().getPath().substring(top.length()));
            }
        });
        NodeCache node = new NodeCache(one, top + "/a");
        TreeCache tree = new TreeCache(one, top);
        two.create().forPath(top + "/a", bytes("1"));
        children.start(PathChildrenCache.StartMode.BUILD_INITIAL_CACHE);
        node.start(true);
        tree.start();
        same(children.getCurrentData().size(), 1);
        same(text(node.getCurrentData().getData()), "1");
        two.create().forPath(top + "/b");
        until(() -> seen.contains("CHILD_ADDED /b"), seen);
        two.setData().forPath(top + "/a", bytes("2"));
        until(() -> seen.contains("CHILD_UPDATED /a"), seen);
        until(() -> text(node.getCurrentData().getData()).equals("2"), "the node's new data");
        two.create().forPath(top + "/b/deep", bytes("x"));
        until(() -> tree.getCurrentData(top + "/b/deep") != null, "a node deeper down");
        two.delete().forPath(top + "/a");
        until(() -> seen.contains("CHILD_REMOVED /a") && node.getCurrentData() == null, seen);
        until(() -> tree.getCurrentData(top + "/a") == null, "gone from the tree");
        children.close();
        node.close();
        tree.close();
    }

    private static void containers(String top) throws Exception {
        String parents = top + "/a/b";
        one.create().creatingParentContainersIfNeeded().forPath(parents + "/c", bytes("x"));
        List<String> seen = Collections.synchronizedList(new ArrayList<>());
        two.getData().usingWatcher(noting(seen)).forPath(top + "/a");
        same(two.checkExists().forPath(parents).getEphemeralOwner(), 0L);
        one.delete().forPath(parents + "/c");
        until(() -> two.checkExists().forPath(top + "/a") == null, "both containers are removed");
        until(() -> seen.contains(EventType.NodeDeleted + top + "/a"), seen);

        Stat made = new Stat();
        one.create().storingStatIn(made).withMode(CreateMode.CONTAINER).forPath(top + "/box", bytes("12345"));
        same(made.getDataLength(), 5);
        same(two.checkExists().forPath(top + "/box"), made);
        fails(KeeperException.NodeExistsException.class,
                () -> one.create().withMode(CreateMode.CONTAINER).forPath(top + "/box"));
        one.transaction().forOperations(
                one.transactionOp().create().withMode(CreateMode.CONTAINER).forPath(top + "/other"),
                one.transactionOp().create().forPath(top + "/other/child"));
        one.transaction().forOperations(one.transactionOp().delete().forPath(top + "/other/child"));
        until(() -> two.checkExists().forPath(top + "/other") == null, "the container of the transaction goes");
        check(two.checkExists().forPath(top + "/box") != null, "one that had no child stays");
    }

    private static void ttlNodes(String top) throws Exception {
        same(one.create().withTtl(600000).withMode(CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL)
                .forPath(top + "/s-", bytes("x")), top + "/s-0000000000");
        one.create().withTtl(50).withMode(CreateMode.PERSISTENT_WITH_TTL).forPath(top + "/short");
        until(() -> two.checkExists().forPath(top + "/short") == null, "its time is over");
        check(two.checkExists().forPath(top + "/s-0000000000") != null, "this one has time");

        PersistentTtlNode node = new PersistentTtlNode(one, top + "/node", 1500, bytes("v"));
        node.start();
        check(node.waitForInitialCreate(WAIT_SECONDS, TimeUnit.SECONDS), "made");
        same(text(two.getData().forPath(top + "/node")), "v");
        long first = two.checkExists().forPath(top + "/node").getCzxid();
        until(() -> two.checkExists().forPath(top + "/node/touch") != null, "the child with a time to live");
        long touched = two.checkExists().forPath(top + "/node/touch").getMzxid();
        until(() -> two.checkExists().forPath(top + "/node/touch").getMzxid() > touched, "it is touched");
        same(two.checkExists().forPath(top + "/node").getCzxid(), first);
        node.close();
        until(() -> two.checkExists().forPath(top + "/node") == null, "nobody touches it any more");
    }

    private static void persistentNodes(String top) throws Exception {
        PersistentNode node = new PersistentNode(one, CreateMode.EPHEMERAL, false, top + "/pn", bytes("v"));
        node.start();
        check(node.waitForInitialCreate(WAIT_SECONDS, TimeUnit.SECONDS), "made");
        long first = two.checkExists().forPath(top + "/pn").getCzxid();
        two.delete().forPath(top + "/pn");
        until(() -> two.checkExists().forPath(top + "/pn") != null, "made again");
        check(two.checkExists().forPath(top + "/pn").getCzxid() > first, "a new node");
        node.close();
        same(two.checkExists().forPath(top + "/pn"), null);
    }

    private static void restart(String top) throws Exception {
        InterProcessMutex held = new InterProcessMutex(one, top + "/lock");
        InterProcessMutex late = new InterProcessMutex(two, top + "/lock");
        held.acquire();
        Future<Boolean> waiting = in(() -> late.acquire(WAIT_SECONDS, TimeUnit.SECONDS));
        until(() -> one.getChildren().forPath(top + "/lock").size() == 2, "the second waits in line");
        PathChildrenCache cache = new PathChildrenCache(two, top, true);
        cache.start(PathChildrenCache.StartMode.BUILD_INITIAL_CACHE);
        List<String> seen = Collections.synchronizedList(new ArrayList<>());
        one.getData().usingWatcher(noting(seen)).forPath(top);
        List<ConnectionState> states = Collections.synchronizedList(new ArrayList<>());
        one.getConnectionStateListenable().addListener((client, state) -> states.add(state));
        long session = one.getZookeeperClient().getZooKeeper().getSessionId();
        for (String how : List.of("restart", "crash")) {
            int before = Collections.frequency(states, ConnectionState.RECONNECTED);
            ask(how);
            until(() -> Collections.frequency(states, ConnectionState.RECONNECTED) > before, states);
        }
        same(one.getZookeeperClient().getZooKeeper().getSessionId(), session);
        check(!states.contains(ConnectionState.LOST), "no session was lost: " + states);
        same(waiting.isDone(), false);
        two.setData().forPath(top, bytes("after"));
        until(() -> seen.contains(EventType.NodeDataChanged + top), seen);
        one.create().forPath(top + "/after", bytes("restart"));
        until(() -> cache.getCurrentData(top + "/after") != null, "the cache sees what came after");
        held.release();
        same(waiting.get(WAIT_SECONDS, TimeUnit.SECONDS), true);
        cache.close();
    }

    /** The client sets its watches again; what happens then is seen, and no more. */
    private static void addedWatchesOverRestart(String top) throws Exception {
        List<String> flat = Collections.synchronizedList(new ArrayList<>());
        List<String> deep = Collections.synchronizedList(new ArrayList<>());
        one.watchers().add().withMode(AddWatchMode.PERSISTENT).usingWatcher(watcher(flat)).forPath(top);
        one.watchers().add().withMode(AddWatchMode.PERSISTENT_RECURSIVE).usingWatcher(watcher(deep)).forPath(top);
        List<ConnectionState> states = Collections.synchronizedList(new ArrayList<>());
        one.getConnectionStateListenable().addListener((client, state) -> states.add(state));
        List<String> expectedFlat = new ArrayList<>();
        List<String> expectedDeep = new ArrayList<>();
        for (String how : List.of("restart", "crash")) {
            int before = Collections.frequency(states, ConnectionState.RECONNECTED);
            ask(how);
            until(() -> Collections.frequency(states, ConnectionState.RECONNECTED) > before, states);
            one.create().forPath(top + "/" + how);
            two.setData().forPath(top, bytes(how));
            Collections.addAll(expectedFlat, EventType.NodeChildrenChanged + top, EventType.NodeDataChanged + top);
            Collections.addAll(expectedDeep, EventType.NodeCreated + top + "/" + how,
                    EventType.NodeDataChanged + top);
            until(() -> flat.equals(expectedFlat), flat);
            until(() -> deep.equals(expectedDeep), deep);
        }
        check(!states.contains(ConnectionState.LOST), "no session was lost: " + states);
    }

    // Helpers

    private static Watcher watcher(List<String> seen) {
        return event -> {
            if (event.getType() != EventType.None) {
                seen.add(event.getType() + event.getPath());
            }
        };
    }

    private static void ask(String request) throws Exception {
        System.out.println(request);
        same(INPUT.readLine(), "restarted");
    }

    private static org.apache.curator.framework.api.CuratorWatcher noting(List<String> seen) {
        return watcher(seen)::process;
    }

    private static <T> Future<T> in(Callable<T> body) {
        return THREADS.submit(body);
    }

    private static Thread daemon(Runnable body) {
        Thread thread = new Thread(body);
        thread.setDaemon(true);
        return thread;
    }

    private static void until(Callable<Boolean> condition, Object what) throws Exception {
        long limit = System.nanoTime() + TimeUnit.SECONDS.toNanos(WAIT_SECONDS);
        while (!condition.call()) {
            check(System.nanoTime() < limit, "still not so: " + what);
            Thread.sleep(5);
        }
    }

    private static void same(Object found, Object expected) {
        if (found == null ? expected != null : !found.equals(expected)) {
            throw new AssertionError(found + ", not " + expected);
        }
    }

    private static void check(boolean condition, String what) {
        if (!condition) {
            throw new AssertionError("not so: " + what);
        }
    }

    private static void fails(Class<? extends KeeperException> kind, Callable<?> body) throws Exception {
        try {
            body.call();
        } catch (KeeperException error) {
            same(error.getClass(), kind);
            return;
        }
        throw new AssertionError("no " + kind.getSimpleName());
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static String text(byte[] data) {
        return new String(data, StandardCharsets.UTF_8);
    }
}
