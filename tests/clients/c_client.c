/* Every operation in scope of the C client library, against a server.
 *
 *     c_client HOST:PORT [CASE...]
 */

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zookeeper/zookeeper.h>

enum { PATH = 256, WAIT_SECONDS = 30, EVENTS = 64 };

static const char *program;
static const char *address;
static char top[PATH]; /* the node of the running case */
static int failed;
static int case_failed;

/* What the callbacks of one connection tell. */
typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int state;
    int drops;
    int events_count;
    struct { int type; char path[PATH]; } events[EVENTS];
    int completions;
    int codes[EVENTS * 16];
    char value[PATH];
    int32_t version;
} Told;

typedef struct {
    zhandle_t *zh;
    Told told;
} Session;

#define EQUAL(found, expected) equal(__LINE__, #found, (long long)(found), (long long)(expected))
#define SAME(found, expected) same(__LINE__, #found, found, expected)

static void complain(int line, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    printf("line %d: ", line);
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
    case_failed = 1;
}

static void equal(int line, const char *what, long long found, long long expected) {
    if (found != expected) complain(line, "%s is %lld, not %lld", what, found, expected);
}

static void same(int line, const char *what, const char *found, const char *expected) {
    if (strcmp(found, expected) != 0) complain(line, "%s is \"%s\", not \"%s\"", what, found, expected);
}

/* The path of a child of the case's node; good until the fourth call after it. */
static const char *at(const char *name) {
    static char paths[4][2 * PATH];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", top, name);
    return path;
}

/* Callbacks */

static void on_event(zhandle_t *zh, int type, int state, const char *path, void *context) {
    Told *told = context ? context : (Told *)zoo_get_context(zh);
    pthread_mutex_lock(&told->lock);
    if (type == ZOO_SESSION_EVENT) {
        if (told->state == ZOO_CONNECTED_STATE && state != ZOO_CONNECTED_STATE) told->drops++;
        told->state = state;
    } else if (told->events_count < EVENTS) {
        told->events[told->events_count].type = type;
        snprintf(told->events[told->events_count++].path, PATH, "%s", path);
    }
    pthread_cond_broadcast(&told->changed);
    pthread_mutex_unlock(&told->lock);
}

static void complete(Told *told, int code, const char *value, int length, const struct Stat *stat) {
    pthread_mutex_lock(&told->lock);
    told->codes[told->completions++] = code;
    if (value) snprintf(told->value, sizeof told->value, "%.*s", length, value);
    if (stat) told->version = stat->version;
    pthread_cond_broadcast(&told->changed);
    pthread_mutex_unlock(&told->lock);
}

static void on_void(int code, const void *told) { complete((Told *)told, code, 0, 0, 0); }
static void on_string(int code, const char *value, const void *told) {
    complete((Told *)told, code, value, value ? (int)strlen(value) : 0, 0);
}
static void on_stat(int code, const struct Stat *stat, const void *told) {
    complete((Told *)told, code, 0, 0, stat);
}
static void on_data(int code, const char *value, int length, const struct Stat *stat, const void *told) {
    complete((Told *)told, code, value, length, stat);
}
static void on_strings(int code, const struct String_vector *list, const void *told) {
    char count[16];
    snprintf(count, sizeof count, "%d", list ? list->count : -1);
    complete((Told *)told, code, count, (int)strlen(count), 0);
}
static void on_strings_stat(
    int code, const struct String_vector *list, const struct Stat *stat, const void *told) {
    (void)stat;
    on_strings(code, list, told);
}
static void on_acl(int code, struct ACL_vector *list, struct Stat *stat, const void *told) {
    complete((Told *)told, code, list && list->count ? list->data[0].id.scheme : 0, 99, stat);
}

/* Waiting: `field` reaches `least`, or the case fails. */
static int wait_for(int line, Told *told, const int *field, int least) {
    struct timespec limit;
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += WAIT_SECONDS;
    pthread_mutex_lock(&told->lock);
    int late = 0;
    while (*field < least && !late) late = pthread_cond_timedwait(&told->changed, &told->lock, &limit);
    pthread_mutex_unlock(&told->lock);
    if (late) complain(line, "waited %d s for %d of %d", WAIT_SECONDS, least, *field);
    return !late;
}

static void wait_state(int line, Told *told, int state) {
    struct timespec limit;
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += WAIT_SECONDS;
    pthread_mutex_lock(&told->lock);
    int late = 0;
    while (told->state != state && !late) late = pthread_cond_timedwait(&told->changed, &told->lock, &limit);
    pthread_mutex_unlock(&told->lock);
    if (late) complain(line, "state %d instead of %d", told->state, state);
}

static void expect_event(int line, Told *told, int number, int type, const char *path) {
    if (!wait_for(line, told, &told->events_count, number)) return;
    equal(line, "event type", told->events[number - 1].type, type);
    same(line, "event path", told->events[number - 1].path, path);
}

static Session *start_session(const clientid_t *id, int timeout_ms) {
    Session *session = calloc(1, sizeof *session);
    pthread_mutex_init(&session->told.lock, 0);
    pthread_cond_init(&session->told.changed, 0);
    session->zh = zookeeper_init(address, on_event, timeout_ms, id, &session->told, 0);
    if (!session->zh) {
        perror("zookeeper_init");
        exit(1);
    }
    return session;
}

static Session *open_session(const clientid_t *id, int timeout_ms) {
    Session *session = start_session(id, timeout_ms);
    wait_state(__LINE__, &session->told, ZOO_CONNECTED_STATE);
    return session;
}

static void close_session(Session *session) {
    EQUAL(zookeeper_close(session->zh), ZOK);
    free(session);
}

static int create(zhandle_t *zh, const char *path, const char *value, int mode, char *made) {
    int length = value ? (int)strlen(value) : -1;
    return zoo_create(zh, path, value, length, &ZOO_OPEN_ACL_UNSAFE, mode, made, made ? PATH : 0);
}

/* Cases */

static void create_modes(Session *s) {
    Session *other = open_session(0, 10000);
    char made[PATH];
    struct Stat stat;
    EQUAL(create(other->zh, at("p"), "v", ZOO_PERSISTENT, made), ZOK);
    SAME(made, at("p"));
    EQUAL(create(other->zh, at("e"), "v", ZOO_EPHEMERAL, made), ZOK);
    EQUAL(create(other->zh, at("s-"), "v", ZOO_PERSISTENT_SEQUENTIAL, made), ZOK);
    SAME(made, at("s-0000000002"));
    EQUAL(create(other->zh, at("es-"), "v", ZOO_EPHEMERAL_SEQUENTIAL, made), ZOK);
    SAME(made, at("es-0000000003"));
    EQUAL(zoo_create2(other->zh, at("two"), "12345", 5, &ZOO_OPEN_ACL_UNSAFE, 0, made, PATH, &stat), ZOK);
    EQUAL(stat.dataLength, 5);
    EQUAL(stat.czxid, stat.mzxid);
    EQUAL(zoo_exists(s->zh, at("e"), 0, &stat), ZOK);
    EQUAL(stat.ephemeralOwner, zoo_client_id(other->zh)->client_id);
    EQUAL(create(s->zh, at("p"), "v", 0, made), ZNODEEXISTS);
    EQUAL(create(s->zh, at("none/x"), "v", 0, made), ZNONODE);
    EQUAL(create(s->zh, at("e/x"), "v", 0, made), ZNOCHILDRENFOREPHEMERALS);
    close_session(other);
    EQUAL(zoo_exists(s->zh, at("e"), 0, &stat), ZNONODE);
    EQUAL(zoo_exists(s->zh, top, 0, &stat), ZOK);
    EQUAL(stat.numChildren, 3);
    EQUAL(stat.cversion, 7);
}

static void data_and_versions(Session *s) {
    char buffer[64];
    int length = sizeof buffer;
    struct Stat stat;
    EQUAL(zoo_get(s->zh, top, 0, buffer, &length, &stat), ZOK);
    EQUAL(length, 3);
    EQUAL(strncmp(buffer, "top", 3), 0);
    EQUAL(zoo_set2(s->zh, top, "changed", 7, 0, &stat), ZOK);
    EQUAL(stat.version, 1);
    EQUAL(zoo_set(s->zh, top, "no", 2, 0), ZBADVERSION);
    EQUAL(zoo_set(s->zh, top, 0, -1, -1), ZOK);
    length = sizeof buffer;
    EQUAL(zoo_get(s->zh, top, 0, buffer, &length, &stat), ZOK);
    EQUAL(length, -1);
    EQUAL(zoo_set(s->zh, top, "", 0, -1), ZOK);
    length = sizeof buffer;
    EQUAL(zoo_get(s->zh, top, 0, buffer, &length, &stat), ZOK);
    EQUAL(length, 0);
    EQUAL(stat.version, 3);
    EQUAL(zoo_set(s->zh, at("none"), "", 0, -1), ZNONODE);
    EQUAL(zoo_get(s->zh, at("none"), 0, buffer, &length, &stat), ZNONODE);
    EQUAL(zoo_delete(s->zh, at("none"), -1), ZNONODE);
    EQUAL(zoo_delete(s->zh, top, 1), ZBADVERSION);

    static char large[1000000], back[1000000];
    for (size_t i = 0; i < sizeof large; i++) large[i] = (char)(i * 7);
    EQUAL(zoo_set(s->zh, top, large, sizeof large, -1), ZOK);
    length = sizeof back;
    EQUAL(zoo_get(s->zh, top, 0, back, &length, &stat), ZOK);
    EQUAL(length, sizeof large);
    EQUAL(memcmp(large, back, sizeof large), 0);
}

static void children(Session *s) {
    struct String_vector list;
    struct Stat stat;
    char name[32];
    EQUAL(zoo_get_children(s->zh, top, 0, &list), ZOK);
    EQUAL(list.count, 0);
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "c%d", i);
        EQUAL(create(s->zh, at(name), "", 0, 0), ZOK);
    }
    EQUAL(zoo_get_children2(s->zh, top, 0, &list, &stat), ZOK);
    EQUAL(list.count, 100);
    EQUAL(stat.numChildren, 100);
    deallocate_String_vector(&list);
    EQUAL(zoo_delete(s->zh, top, -1), ZNOTEMPTY);
    EQUAL(zoo_get_children(s->zh, at("none"), 0, &list), ZNONODE);
}

static void acls_and_authentication(Session *s) {
    Session *other = open_session(0, 10000);
    struct ACL_vector list;
    struct Stat stat;
    char buffer[16];
    int length = sizeof buffer;
    EQUAL(zoo_get_acl(s->zh, top, &list, &stat), ZOK);
    EQUAL(list.count, 1);
    EQUAL(list.data[0].perms, ZOO_PERM_ALL);
    SAME(list.data[0].id.scheme, "world");
    deallocate_ACL_vector(&list);
    EQUAL(zoo_set_acl(s->zh, top, 5, &ZOO_READ_ACL_UNSAFE), ZBADVERSION);
    EQUAL(zoo_create(s->zh, at("c"), "", 0, &ZOO_CREATOR_ALL_ACL, 0, 0, 0), ZINVALIDACL);
    EQUAL(zoo_add_auth(s->zh, "digest", "user:pass", 9, on_void, &s->told), ZOK);
    wait_for(__LINE__, &s->told, &s->told.completions, 1);
    EQUAL(s->told.codes[0], ZOK);
    EQUAL(zoo_create(s->zh, at("c"), "mine", 4, &ZOO_CREATOR_ALL_ACL, 0, 0, 0), ZOK);
    EQUAL(zoo_get_acl(s->zh, at("c"), &list, &stat), ZOK);
    SAME(list.data[0].id.id, "user:smGaoVKd/cQkjm7b88GyorAUz20=");
    deallocate_ACL_vector(&list);
    EQUAL(zoo_get(other->zh, at("c"), 0, buffer, &length, &stat), ZNOAUTH);
    EQUAL(zoo_add_auth(other->zh, "digest", "super:interop", 13, on_void, &other->told), ZOK);
    wait_for(__LINE__, &other->told, &other->told.completions, 1);
    EQUAL(zoo_get(other->zh, at("c"), 0, buffer, &length, &stat), ZOK);
    EQUAL(zoo_set_acl(s->zh, top, 0, &ZOO_READ_ACL_UNSAFE), ZOK);
    EQUAL(zoo_set(s->zh, top, "", 0, -1), ZNOAUTH);
    EQUAL(zoo_get_acl(s->zh, top, &list, &stat), ZOK);
    EQUAL(stat.aversion, 1);
    deallocate_ACL_vector(&list);
    close_session(other);
}

static void unknown_scheme(Session *s) {
    Session *other = open_session(0, 10000);
    EQUAL(zoo_add_auth(other->zh, "nosuch", "a", 1, on_void, &other->told), ZOK);
    wait_for(__LINE__, &other->told, &other->told.completions, 1);
    EQUAL(other->told.codes[0], ZAUTHFAILED);
    zookeeper_close(other->zh);
    (void)s;
}

static void watches(Session *s) {
    Session *other = open_session(0, 10000);
    struct Stat stat;
    struct String_vector list;
    char buffer[16], path[PATH], child[PATH];
    int length = sizeof buffer;
    snprintf(path, sizeof path, "%s", at("w"));
    snprintf(child, sizeof child, "%s", at("w/c"));
    EQUAL(zoo_wexists(s->zh, path, on_event, &s->told, &stat), ZNONODE);
    EQUAL(create(other->zh, path, "0", 0, 0), ZOK);
    expect_event(__LINE__, &s->told, 1, ZOO_CREATED_EVENT, path);
    EQUAL(zoo_wget(s->zh, path, on_event, &s->told, buffer, &length, &stat), ZOK);
    EQUAL(zoo_set(other->zh, path, "1", 1, -1), ZOK);
    EQUAL(zoo_set(other->zh, path, "2", 1, -1), ZOK);
    expect_event(__LINE__, &s->told, 2, ZOO_CHANGED_EVENT, path);
    EQUAL(zoo_wget_children(s->zh, path, on_event, &s->told, &list), ZOK);
    EQUAL(create(other->zh, child, "0", 0, 0), ZOK);
    expect_event(__LINE__, &s->told, 3, ZOO_CHILD_EVENT, path);
    EQUAL(zoo_wexists(s->zh, child, on_event, &s->told, &stat), ZOK);
    EQUAL(zoo_delete(other->zh, child, -1), ZOK);
    expect_event(__LINE__, &s->told, 4, ZOO_DELETED_EVENT, child);
    EQUAL(s->told.events_count, 4);
    close_session(other);
}

static void transactions(Session *s) {
    zoo_op_t ops[6];
    zoo_op_result_t results[6];
    char first[PATH], second[PATH], a[PATH], seq[PATH], b[PATH];
    struct Stat stat;
    snprintf(a, sizeof a, "%s", at("a"));
    snprintf(seq, sizeof seq, "%s", at("s-"));
    snprintf(b, sizeof b, "%s", at("b"));
    zoo_check_op_init(&ops[0], top, 0);
    zoo_create_op_init(&ops[1], a, "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, first, sizeof first);
    int flags = ZOO_EPHEMERAL | ZOO_SEQUENCE;
    zoo_create_op_init(&ops[2], seq, "", 0, &ZOO_OPEN_ACL_UNSAFE, flags, second, sizeof second);
    zoo_set_op_init(&ops[3], a, "three", 5, 0, &stat);
    zoo_create_op_init(&ops[4], b, "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, 0, 0);
    zoo_delete_op_init(&ops[5], b, 0);
    EQUAL(zoo_multi(s->zh, 6, ops, results), ZOK);
    for (int i = 0; i < 6; i++) EQUAL(results[i].err, ZOK);
    SAME(first, a);
    SAME(second, at("s-0000000001"));
    EQUAL(stat.version, 1);
    EQUAL(stat.dataLength, 5);

    zoo_create_op_init(&ops[0], b, "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, first, sizeof first);
    zoo_check_op_init(&ops[1], a, 9);
    zoo_delete_op_init(&ops[2], a, -1);
    EQUAL(zoo_multi(s->zh, 3, ops, results), ZBADVERSION);
    EQUAL(results[0].err, ZOK);
    EQUAL(results[1].err, ZBADVERSION);
    EQUAL(results[2].err, ZRUNTIMEINCONSISTENCY);
    EQUAL(zoo_exists(s->zh, b, 0, &stat), ZNONODE);
    EQUAL(zoo_exists(s->zh, a, 0, &stat), ZOK);

    zoo_set_op_init(&ops[0], a, "x", 1, -1, &stat);
    EQUAL(zoo_amulti(s->zh, 1, ops, results, on_void, &s->told), ZOK);
    wait_for(__LINE__, &s->told, &s->told.completions, 1);
    EQUAL(s->told.codes[0], ZOK);
    EQUAL(stat.version, 2);
}

static void asynchronous_calls(Session *s) {
    Told *told = &s->told;
    int done = 0;
    EQUAL(zoo_acreate(s->zh, at("a"), "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, on_string, told), ZOK);
    EQUAL(zoo_aset(s->zh, at("a"), "22", 2, 0, on_stat, told), ZOK);
    EQUAL(zoo_aget(s->zh, at("a"), 0, on_data, told), ZOK);
    wait_for(__LINE__, told, &told->completions, done += 3);
    SAME(told->value, "22");
    EQUAL(told->version, 1);
    EQUAL(zoo_aexists(s->zh, at("a"), 0, on_stat, told), ZOK);
    EQUAL(zoo_aget_children(s->zh, top, 0, on_strings, told), ZOK);
    wait_for(__LINE__, told, &told->completions, done += 2);
    SAME(told->value, "1");
    EQUAL(zoo_aget_children2(s->zh, top, 0, on_strings_stat, told), ZOK);
    EQUAL(zoo_aset_acl(s->zh, at("a"), 0, &ZOO_OPEN_ACL_UNSAFE, on_void, told), ZOK);
    EQUAL(zoo_aget_acl(s->zh, at("a"), on_acl, told), ZOK);
    wait_for(__LINE__, told, &told->completions, done += 3);
    SAME(told->value, "world");
    EQUAL(zoo_async(s->zh, top, on_string, told), ZOK);
    wait_for(__LINE__, told, &told->completions, done += 1);
    SAME(told->value, top);
    EQUAL(zoo_adelete(s->zh, at("a"), -1, on_void, told), ZOK);
    wait_for(__LINE__, told, &told->completions, done += 1);
    for (int i = 0; i < done; i++) EQUAL(told->codes[i], ZOK);
    EQUAL(zoo_adelete(s->zh, at("a"), -1, on_void, told), ZOK);
    wait_for(__LINE__, told, &told->completions, done += 1);
    EQUAL(told->codes[done - 1], ZNONODE);

    /* A conditional write each, so that one out of order fails. */
    for (int i = 0; i < 500; i++) EQUAL(zoo_aset(s->zh, top, "x", 1, i, on_stat, told), ZOK);
    wait_for(__LINE__, told, &told->completions, done + 500);
    for (int i = done; i < done + 500; i++) EQUAL(told->codes[i], ZOK);
    EQUAL(told->version, 500);
}

/* What a process does that dies with its session open: it makes an ephemeral node and prints the session. */
static int leave_session_behind(const char *path) {
    Session *session = open_session(0, 10000);
    int code = create(session->zh, path, "", ZOO_EPHEMERAL, 0);
    const clientid_t *id = zoo_client_id(session->zh);
    printf("%d %lld ", code, (long long)id->client_id);
    for (size_t i = 0; i < sizeof id->passwd; i++) printf("%02x", (unsigned char)id->passwd[i]);
    fflush(stdout);
    _exit(0);
}

static void session_is_inherited(Session *s) {
    char command[4 * PATH], password[40] = "";
    struct Stat stat;
    clientid_t id = {0};
    long long number = 0;
    int code = -1;
    unsigned byte;
    snprintf(command, sizeof command, "'%s' '%s' --leave '%s'", program, address, at("e"));
    FILE *output = popen(command, "r");
    EQUAL(fscanf(output, "%d %lld %39s", &code, &number, password), 3);
    pclose(output);
    EQUAL(code, ZOK);
    id.client_id = number;
    for (size_t i = 0; i < sizeof id.passwd; i++) {
        EQUAL(sscanf(password + 2 * i, "%2x", &byte), 1);
        id.passwd[i] = (char)byte;
    }
    Session *heir = open_session(&id, 10000);
    EQUAL(zoo_client_id(heir->zh)->client_id, number);
    EQUAL(zoo_exists(heir->zh, at("e"), 0, &stat), ZOK);
    EQUAL(stat.ephemeralOwner, number);
    close_session(heir);
    EQUAL(zoo_exists(s->zh, at("e"), 0, &stat), ZNONODE);

    /* Nobody can have the session now that it is closed. */
    Session *late = start_session(&id, 10000);
    wait_state(__LINE__, &late->told, ZOO_EXPIRED_SESSION_STATE);
    EQUAL(zoo_exists(late->zh, top, 0, &stat), ZINVALIDSTATE);
    zookeeper_close(late->zh);
}

static void ask(const char *request) {
    char answer[64] = "";
    printf("%s\n", request);
    if (!fgets(answer, sizeof answer, stdin)) exit(1);
    SAME(answer, "restarted\n");
}

static void watches_over_restart(Session *s) {
    Session *other = open_session(0, 10000);
    struct Stat stat;
    struct String_vector list;
    char buffer[16], node[PATH], data[PATH], missing[PATH];
    int length = sizeof buffer;
    const int64_t session = zoo_client_id(s->zh)->client_id;
    snprintf(node, sizeof node, "%s", at("node"));
    snprintf(data, sizeof data, "%s", at("data"));
    snprintf(missing, sizeof missing, "%s", at("missing"));
    EQUAL(create(s->zh, node, "", ZOO_EPHEMERAL, 0), ZOK);
    EQUAL(create(s->zh, data, "", 0, 0), ZOK);
    EQUAL(zoo_wget(s->zh, data, on_event, &s->told, buffer, &length, &stat), ZOK);
    EQUAL(zoo_wexists(s->zh, missing, on_event, &s->told, &stat), ZNONODE);
    EQUAL(zoo_wget_children(s->zh, data, on_event, &s->told, &list), ZOK);
    for (int round = 1; round <= 2; round++) {
        ask(round == 1 ? "restart" : "crash");
        wait_for(__LINE__, &s->told, &s->told.drops, round);
        wait_state(__LINE__, &s->told, ZOO_CONNECTED_STATE);
        wait_for(__LINE__, &other->told, &other->told.drops, round);
        wait_state(__LINE__, &other->told, ZOO_CONNECTED_STATE);
    }
    EQUAL(zoo_client_id(s->zh)->client_id, session);
    EQUAL(zoo_exists(s->zh, node, 0, &stat), ZOK);
    EQUAL(stat.ephemeralOwner, session);
    EQUAL(s->told.events_count, 0);
    /* The library has set its watches again; each must fire. */
    EQUAL(zoo_set(other->zh, data, "1", 1, -1), ZOK);
    expect_event(__LINE__, &s->told, 1, ZOO_CHANGED_EVENT, data);
    EQUAL(create(other->zh, missing, "", 0, 0), ZOK);
    expect_event(__LINE__, &s->told, 2, ZOO_CREATED_EVENT, missing);
    char child[PATH + 8];
    snprintf(child, sizeof child, "%s/c", data);
    EQUAL(create(other->zh, child, "", 0, 0), ZOK);
    expect_event(__LINE__, &s->told, 3, ZOO_CHILD_EVENT, data);
    close_session(other);
}

static const struct { const char *name; void (*body)(Session *); } cases[] = {
    {"create_modes", create_modes},
    {"data_and_versions", data_and_versions},
    {"children", children},
    {"acls_and_authentication", acls_and_authentication},
    {"unknown_scheme", unknown_scheme},
    {"watches", watches},
    {"transactions", transactions},
    {"asynchronous_calls", asynchronous_calls},
    {"session_is_inherited", session_is_inherited},
    {"watches_over_restart", watches_over_restart},
};
enum { CASES = sizeof cases / sizeof cases[0] };

int main(int count, char **arguments) {
    if (count < 2) return 2;
    setvbuf(stdout, 0, _IOLBF, 0);
    zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
    zoo_deterministic_conn_order(1);
    program = arguments[0];
    address = arguments[1];
    if (count == 4 && strcmp(arguments[2], "--leave") == 0) return leave_session_behind(arguments[3]);
    printf("plan %d\n", count > 2 ? count - 2 : CASES);
    for (int i = 0; i < CASES; i++) {
        int wanted = count == 2;
        for (int j = 2; j < count; j++) wanted |= strcmp(arguments[j], cases[i].name) == 0;
        if (!wanted) continue;
        case_failed = 0;
        Session *session = open_session(0, 10000);
        snprintf(top, sizeof top, "/c-%s", cases[i].name);
        EQUAL(create(session->zh, top, "top", 0, 0), ZOK);
        cases[i].body(session);
        close_session(session);
        printf(case_failed ? "not ok %s: see above\n" : "ok %s\n", cases[i].name);
        failed |= case_failed;
    }
    return failed;
}
