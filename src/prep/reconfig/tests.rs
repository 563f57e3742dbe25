use bytes::Bytes;

use super::*;
use crate::prep::PrepConfig;
use crate::prep::tests::{Server, config};
use crate::proto::acl::Id;
use crate::proto::jute::Put;
use crate::proto::opcode::OpCode;
use crate::proto::txn;

const TEXT: &str = "server.1=a:1:2:participant\nserver.2=b:1:2:participant\nversion=1";

fn body(joining: Option<&str>, version: i64) -> Vec<u8> {
    let mut body = Vec::new();
    for text in [joining, None, None] {
        body.put_buffer(text.map(str::as_bytes));
    }
    body.put_long(version);
    body
}

fn prepare(
    server: &mut Server,
    body: &[u8],
    judge: impl FnOnce(&ReconfigRequest) -> Result<Bytes, ErrorCode>,
) -> Prepared {
    let request = PrepRequest {
        session: server.session,
        cxid: 5,
        op: OpCode::Reconfig,
        body,
        ids: &server.ids,
    };
    let zxid = server.zxid.next();
    server.zxid = zxid;
    server
        .prep
        .prepare_reconfig(&server.tree, &server.sessions, &request, zxid, 7, judge)
}

fn error(prepared: &Prepared) -> Option<ErrorCode> {
    match prepared {
        Prepared::Txn { error, .. } => *error,
        Prepared::Undecodable => panic!("it can be decoded"),
    }
}

fn skipping() -> Server {
    let mut config: PrepConfig = config();
    config.auth.skip_acl = true;
    Server::with(DataTree::new(1), config)
}

#[test]
fn the_transaction_sets_the_configuration() {
    let mut server = skipping();
    let prepared = prepare(&mut server, &body(Some("server.2=b:1:2;3"), 77), |asked| {
        assert_eq!(asked.joining.as_deref(), Some("server.2=b:1:2;3"));
        assert_eq!(
            (&asked.leaving, &asked.new_members, asked.config_version),
            (&None, &None, 77)
        );
        Ok(Bytes::from_static(TEXT.as_bytes()))
    });
    let Prepared::Txn { encoded, header, .. } = prepared else {
        panic!("{prepared:?}")
    };
    assert_eq!(header.code, 16);
    let logged = txn::decode(&encoded).unwrap();
    let Txn::Reconfig { path, data, version } = logged.txn else {
        panic!("{:?}", logged.txn)
    };
    assert_eq!(
        (&*path, data, version),
        ("/zookeeper/config", Some(TEXT.as_bytes()), -1)
    );
    // What is not applied yet counts, and leads to the digest that it says.
    let before = server.tree.digest();
    assert_eq!(logged.digest.unwrap().digest, before);
    server
        .tree
        .process_txn(&header, &txn::decode(&encoded).unwrap().txn, &mut ());
    let node = server.tree.lookup(CONFIG_PATH).unwrap();
    assert_eq!(
        (node.data(), node.persisted().version),
        (Some(TEXT.as_bytes()), -1)
    );
    assert_eq!(
        (node.persisted().mzxid, server.tree.digest()),
        (header.zxid, before)
    );
}

#[test]
fn session_then_judge_then_permission() {
    let judged = |error| move |_: &ReconfigRequest| Err::<Bytes, _>(error);
    let fine = |_: &ReconfigRequest| Ok(Bytes::from_static(TEXT.as_bytes()));
    let mut server = Server::new();
    let nothing = body(None, -1);
    let refused = prepare(&mut server, &nothing, judged(ErrorCode::NewConfigNoQuorum));
    assert_eq!(error(&refused), Some(ErrorCode::NewConfigNoQuorum));
    assert_eq!(
        error(&prepare(&mut server, &nothing, fine)),
        Some(ErrorCode::NoAuth)
    );
    server.ids = vec![Id {
        scheme: "super".into(),
        id: String::new(),
    }];
    assert_eq!(error(&prepare(&mut server, &nothing, fine)), None);
    server.sessions.gone.insert(server.session);
    let expired = prepare(&mut server, &nothing, |_| panic!("the session comes first"));
    assert_eq!(error(&expired), Some(ErrorCode::SessionExpired));
    let short = &nothing[..nothing.len() - 1];
    let undecodable = prepare(&mut server, short, |_| panic!("nothing was asked"));
    assert_eq!(undecodable, Prepared::Undecodable);
}
