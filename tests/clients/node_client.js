// Every operation of the npm package node-zookeeper-client.
//
//     node node_client.js HOST:PORT [CASE...]

'use strict';

const assert = require('assert');
const readline = require('readline');
const zookeeper = require('node-zookeeper-client');

const { CreateMode, Event, Exception, Permission, ACL, Id } = zookeeper;
const [address, ...wanted] = process.argv.slice(2);
const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** A connected client whose operations are promises. */
async function connect(options = {}) {
  const client = zookeeper.createClient(options.address || address, {
    sessionTimeout: 10000,
    retries: 200,
    ...options,
  });
  const connected = new Promise((resolve) => client.once('connected', resolve));
  client.connect();
  await connected;
  const names = ['create', 'remove', 'removeRecursive', 'exists', 'getChildren', 'listSubTreeBFS', 'getData',
    'setData', 'getACL', 'setACL', 'mkdirp'];
  const promised = { raw: client };
  for (const name of names) {
    promised[name] = (...given) => new Promise((resolve, reject) => {
      client[name](...given, (error, ...results) => (error ? reject(error) : resolve(results)));
    });
  }
  promised.commit = (transaction) => new Promise((resolve) => {
    transaction.commit((error, results) => resolve({ error, results }));
  });
  promised.close = () => new Promise((resolve) => {
    client.once('disconnected', resolve);
    client.close();
  });
  return promised;
}

let names = 0;
async function fresh(client, data = Buffer.alloc(0)) {
  return (await client.create(`/node-${names++}`, data))[0];
}

async function fails(code, promise) {
  await assert.rejects(promise, (error) => {
    assert.strictEqual(error.getCode && error.getCode(), code, String(error));
    return true;
  });
}

/** A watcher that keeps events and lets a case wait for the next one. */
function watcher() {
  const seen = [];
  const waiting = [];
  const watch = (event) => {
    const value = [event.getType(), event.getPath()];
    seen.push(value);
    if (waiting.length) waiting.shift()();
  };
  watch.seen = seen;
  watch.next = () => new Promise((resolve) => waiting.push(resolve));
  return watch;
}

async function ask(request) {
  console.log(request);
  assert.strictEqual((await answers.next()).value, 'restarted');
}

const text = (value) => Buffer.from(value);
const number = (buffer) => buffer.readBigInt64BE();

const cases = {
  async createModes(client) {
    const other = await connect();
    const top = await fresh(client);
    assert.deepStrictEqual(await other.create(`${top}/p`, text('d')), [`${top}/p`]);
    const modes = [
      [CreateMode.EPHEMERAL, 'e', 'e'],
      [CreateMode.PERSISTENT_SEQUENTIAL, 's-', 's-0000000002'],
      [CreateMode.EPHEMERAL_SEQUENTIAL, 'es-', 'es-0000000003'],
    ];
    for (const [mode, name, made] of modes) {
      assert.deepStrictEqual(await other.create(`${top}/${name}`, null, mode), [`${top}/${made}`]);
    }
    const [stat] = await client.exists(`${top}/e`);
    assert.deepStrictEqual(stat.ephemeralOwner, other.raw.getSessionId());
    await fails(Exception.NODE_EXISTS, client.create(`${top}/p`));
    await fails(Exception.NO_NODE, client.create(`${top}/none/x`));
    await fails(Exception.NO_CHILDREN_FOR_EPHEMERALS, client.create(`${top}/e/x`));
    await other.close();
    assert.deepStrictEqual((await client.getChildren(top))[0].sort(), ['p', 's-0000000002']);
  },

  async dataAndStat(client) {
    const every = Buffer.from([...Array(256).keys()]);
    const path = await fresh(client, every);
    const [data, stat] = await client.getData(path);
    assert.deepStrictEqual(data, every);
    assert.strictEqual(stat.version, 0);
    assert.strictEqual(stat.dataLength, 256);
    assert.deepStrictEqual(stat.czxid, stat.mzxid);
    const [after] = await client.setData(path, text('new'), 0);
    assert.strictEqual(after.version, 1);
    assert.ok(number(after.mzxid) > number(after.czxid));
    assert.ok(Math.abs(Number(number(after.mtime)) - Date.now()) < 60000);
    await fails(Exception.BAD_VERSION, client.setData(path, text('x'), 0));
    await fails(Exception.NO_NODE, client.setData(`${path}/none`, text('x')));
    const large = Buffer.alloc(1000000, 'x');
    await client.setData(path, large);
    assert.ok((await client.getData(path))[0].equals(large));
    assert.deepStrictEqual(await client.exists(`${path}/none`), [null]);
    await fails(Exception.NO_NODE, client.getData(`${path}/none`));
  },

  async emptyAndMissingData(client) {
    const top = await fresh(client);
    await client.create(`${top}/empty`, Buffer.alloc(0));
    await client.create(`${top}/none`, null);
    assert.strictEqual((await client.getData(`${top}/empty`))[1].dataLength, 0);
    assert.strictEqual((await client.getData(`${top}/none`))[0], undefined);
  },

  async removing(client) {
    const top = await fresh(client);
    await client.mkdirp(`${top}/a/b/c`, text('deep'));
    assert.strictEqual((await client.getData(`${top}/a/b/c`))[0].toString(), 'deep');
    await fails(Exception.NOT_EMPTY, client.remove(`${top}/a`));
    await fails(Exception.BAD_VERSION, client.remove(`${top}/a/b/c`, 3));
    // One level: the package's own walk of a tree goes no deeper.
    const [listed] = await client.listSubTreeBFS(`${top}/a/b`);
    assert.deepStrictEqual(listed, [`${top}/a/b`, `${top}/a/b/c`]);
    await client.removeRecursive(`${top}/a/b`);
    await client.remove(`${top}/a`);
    await fails(Exception.NO_NODE, client.remove(`${top}/a`));
    const [children, stat] = await client.getChildren(top);
    assert.deepStrictEqual([children, stat.cversion, stat.numChildren], [[], 2, 0]);
  },

  async acls(client) {
    const path = await fresh(client);
    const [open, stat] = await client.getACL(path);
    assert.deepStrictEqual(open.map(String), ACL.OPEN_ACL_UNSAFE.map(String));
    assert.strictEqual(stat.aversion, 0);
    const list = [
      new ACL(Permission.READ | Permission.ADMIN, new Id('ip', '127.0.0.1')),
      new ACL(Permission.ALL, new Id('digest', 'x:y')),
    ];
    assert.strictEqual((await client.setACL(path, list, 0))[0].aversion, 1);
    assert.deepStrictEqual((await client.getACL(path))[0].map(String), list.map(String));
    await fails(Exception.BAD_VERSION, client.setACL(path, list, 0));
    await fails(Exception.INVALID_ACL, client.setACL(path, [new ACL(1, new Id('nosuch', 'a'))]));
    await fails(Exception.NO_AUTH, client.setData(path, text('x')));
    await client.getData(path);
  },

  async authentication(client) {
    const owner = await connect();
    owner.raw.addAuthInfo('digest', text('ann:pw'));
    const top = await fresh(client);
    await owner.create(`${top}/mine`, text('v'), ACL.CREATOR_ALL_ACL);
    await fails(Exception.NO_AUTH, client.getData(`${top}/mine`));
    const second = await connect();
    second.raw.addAuthInfo('digest', text('ann:pw'));
    assert.strictEqual((await second.getData(`${top}/mine`))[0].toString(), 'v');
    await Promise.all([owner.close(), second.close()]);
  },

  async watches(client) {
    const other = await connect();
    const top = await fresh(client);
    const path = `${top}/w`;
    const child = `${path}/c`;
    const { NODE_CREATED, NODE_DELETED, NODE_DATA_CHANGED, NODE_CHILDREN_CHANGED } = Event;
    const change = () => other.setData(path, text('1'));
    const steps = [
      [(watch) => client.exists(path, watch), () => other.create(path), [NODE_CREATED, path]],
      [(watch) => client.getData(path, watch), change, [NODE_DATA_CHANGED, path]],
      [(watch) => client.getChildren(path, watch), () => other.create(child), [NODE_CHILDREN_CHANGED, path]],
      [(watch) => client.exists(child, watch), () => other.remove(child), [NODE_DELETED, child]],
    ];
    for (const [arm, act, expected] of steps) {
      const watch = watcher();
      await arm(watch);
      const fired = watch.next();
      await act();
      await fired;
      assert.deepStrictEqual(watch.seen, [expected]);
    }
    await other.close();
  },

  async watchFiresOnce(client) {
    const path = await fresh(client);
    const watch = watcher();
    await client.getData(path, watch);
    for (let i = 0; i < 5; i++) await client.setData(path, text(String(i)));
    await client.getData(path);
    assert.deepStrictEqual(watch.seen, [[Event.NODE_DATA_CHANGED, path]]);
  },

  async transactions(client) {
    const top = await fresh(client, text('x'));
    let { error, results } = await client.commit(client.raw.transaction()
      .check(top, 0)
      .create(`${top}/a`, text('1'))
      .create(`${top}/s-`, text('2'), CreateMode.PERSISTENT_SEQUENTIAL)
      .setData(`${top}/a`, text('3'), 0)
      .create(`${top}/b`)
      .remove(`${top}/b`, -1));
    assert.ifError(error);
    assert.strictEqual(results.length, 6);
    assert.deepStrictEqual([results[1].path, results[2].path], [`${top}/a`, `${top}/s-0000000001`]);
    assert.strictEqual(results[3].stat.version, 1);
    assert.strictEqual((await client.getData(`${top}/a`))[0].toString(), '3');
    ({ error, results } = await client.commit(client.raw.transaction()
      .create(`${top}/c`)
      .remove(`${top}/none`, -1)
      .create(`${top}/d`)));
    assert.strictEqual(error.getCode(), Exception.NO_NODE);
    const codes = results.map((result) => result.err);
    assert.deepStrictEqual(codes, [0, Exception.NO_NODE, Exception.RUNTIME_INCONSISTENCY]);
    assert.deepStrictEqual((await client.getChildren(top))[0].sort(), ['a', 's-0000000001']);
  },

  async pipeline(client) {
    const top = await fresh(client);
    const made = await Promise.all([...Array(300).keys()].map((i) =>
      client.create(`${top}/q-`, text(String(i)), CreateMode.PERSISTENT_SEQUENTIAL)));
    made.forEach(([path], i) => assert.strictEqual(path, `${top}/q-${String(i).padStart(10, '0')}`));
    const reads = await Promise.all(made.map(([path]) => client.getData(path)));
    reads.forEach(([data], i) => assert.strictEqual(data.toString(), String(i)));
  },

  async chroot(client) {
    const top = await fresh(client);
    const inside = await connect({ address: address + top });
    assert.deepStrictEqual(await inside.create('/in'), ['/in']);
    assert.deepStrictEqual((await inside.getChildren('/'))[0], ['in']);
    await inside.close();
    assert.deepStrictEqual((await client.getChildren(top))[0], ['in']);
  },

  async reconnectsOverRestart(client) {
    const top = await fresh(client);
    await client.create(`${top}/e`, text('v'), CreateMode.EPHEMERAL);
    const session = client.raw.getSessionId();
    const data = watcher();
    const children = watcher();
    const missing = watcher();
    await client.getData(top, data);
    await client.getChildren(top, children);
    await client.exists(`${top}/missing`, missing);
    for (const how of ['restart', 'crash']) {
      // With several servers it may still be away from the last restart when the next one begins.
      const back = new Promise((resolve) => {
        const returns = () => client.raw.once('connected', resolve);
        if (client.raw.getState() === zookeeper.State.SYNC_CONNECTED) client.raw.once('disconnected', returns);
        else returns();
      });
      await ask(how);
      await back;
    }
    assert.deepStrictEqual(client.raw.getSessionId(), session);
    assert.deepStrictEqual((await client.exists(`${top}/e`))[0].ephemeralOwner, session);
    assert.deepStrictEqual([data.seen, children.seen, missing.seen], [[], [], []]);
    // The client has set its watches again: the three changes must reach it.
    const fired = Promise.all([data.next(), children.next(), missing.next()]);
    await client.setData(top, text('after'));
    await client.create(`${top}/missing`);
    await fired;
    assert.deepStrictEqual(data.seen, [[Event.NODE_DATA_CHANGED, top]]);
    assert.deepStrictEqual(children.seen, [[Event.NODE_CHILDREN_CHANGED, top]]);
    assert.deepStrictEqual(missing.seen, [[Event.NODE_CREATED, `${top}/missing`]]);
  },
};

async function main() {
  const chosen = Object.keys(cases).filter((name) => !wanted.length || wanted.includes(name));
  console.log(`plan ${chosen.length}`);
  let failed = 0;
  for (const name of chosen) {
    let timer;
    const limit = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error('no end after 40 s')), 40000);
    });
    try {
      const client = await Promise.race([connect(), limit]);
      await Promise.race([cases[name](client), limit]);
      await Promise.race([client.close(), limit]);
      console.log(`ok ${name}`);
    } catch (error) {
      failed++;
      console.log(error.stack);
      console.log(`not ok ${name}: ${String(error).split('\n')[0]}`);
    } finally {
      clearTimeout(timer);
    }
  }
  process.exit(failed ? 1 : 0);
}

main();
