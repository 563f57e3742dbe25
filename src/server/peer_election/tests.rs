use std::collections::BTreeSet;

use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::UnboundedSender as Sender;
use tokio::task::JoinHandle;

use super::*;
use crate::election::{Election, ElectionConfig, Input, Output, Vote};
use crate::ids::Zxid;
use crate::proto::vote::PeerState;
use crate::quorum::configs::Configs;

const PATIENCE: Duration = Duration::from_secs(60);

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it happens soon")
}

async fn listeners(count: usize) -> Vec<TcpListener> {
    let mut listeners = Vec::new();
    for _ in 0..count {
        listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
    }
    listeners
}

/// Servers 1, 2, … at these listeners.
fn members_at(listeners: &[TcpListener]) -> Members {
    let line = |(index, listener): (usize, &TcpListener)| {
        let port = listener.local_addr().unwrap().port();
        format!("server.{}=127.0.0.1:1:{port}\n", index + 1)
    };
    Members::parse(&listeners.iter().enumerate().map(line).collect::<String>()).unwrap()
}

fn config(me: i64, members: &Members) -> PeerElectionConfig {
    PeerElectionConfig {
        me: ServerId(me),
        members: members.clone(),
        admits_strangers: false,
        listen: Vec::new(),
        connect_timeout: Duration::from_secs(5),
        handshake_timeout: Duration::from_secs(10),
        bind_attempts: 1,
    }
}

/// Starts the mesh of one server, whose events come out at the other end.
fn mesh(config: PeerElectionConfig, listener: TcpListener) -> (PeerElection, UnboundedReceiver<PeerEvent>) {
    let (events, queue) = unbounded_channel();
    let deliver: Deliver = Arc::new(move |event| drop(events.send(event)));
    (start_with(config, vec![listener], deliver).unwrap(), queue)
}

/// An election on top of a mesh, told to look for a leader at the start and on demand.
struct Node {
    look: Sender<()>,
    role: watch::Receiver<(PeerState, Vote)>,
    task: JoinHandle<()>,
}

fn node(me: i64, members: &Members, listener: TcpListener, finalize_wait_ms: u64) -> Node {
    let (mesh, mut events) = mesh(config(me, members), listener);
    let mut election_config = ElectionConfig::new(ServerId(me), Configs::new(members.clone()));
    election_config.finalize_wait_ms = finalize_wait_ms;
    let mut election = Election::new(election_config);
    let (look, mut looks) = unbounded_channel();
    let (publish, role) = watch::channel((election.state(), election.vote()));
    look.send(()).unwrap();
    let clock = Clock::start();
    let task = tokio::spawn(async move {
        let mut out = Vec::new();
        loop {
            let deadline = election.next_deadline().unwrap_or(Millis(u64::from(u32::MAX)));
            let deadline = tokio::time::Instant::from_std(clock.instant(deadline));
            let event = tokio::select! {
                event = events.recv() => event,
                look = looks.recv() => {
                    let Some(()) = look else { return };
                    let (zxid, peer_epoch) = (Zxid(0), 0);
                    election.step(clock.now().mono, Input::Start { zxid, peer_epoch }, &mut out);
                    None
                }
                () = tokio::time::sleep_until(deadline) => {
                    election.step(clock.now().mono, Input::Tick, &mut out);
                    None
                }
            };
            if let Some(event) = &event {
                let input = match event {
                    PeerEvent::Received { from, body } => Input::Received { from: *from, body },
                    PeerEvent::LinkUp(server) => Input::LinkUp(*server),
                    PeerEvent::LinkDown(server) => Input::LinkDown(*server),
                };
                election.step(clock.now().mono, input, &mut out);
            }
            for output in out.drain(..) {
                match output {
                    Output::Notify { to, body } => mesh.send(to, body),
                    Output::DialAll => mesh.dial_all(),
                    Output::Decided { .. }
                    | Output::VoterLooking(_)
                    | Output::Outvoted(_)
                    | Output::AddressDiffers { .. }
                    | Output::NewerConfig(_)
                    | Output::ProposedConfig(_)
                    | Output::MembersDiffer { .. } => {}
                }
            }
            publish.send_replace((election.state(), election.vote()));
        }
    });
    Node { look, role, task }
}

impl Node {
    /// Its state and leader, once it has one by an election after this round.
    async fn leader(&mut self, after_round: i64) -> (PeerState, i64) {
        let is_settled = |(state, vote): &(PeerState, Vote)| {
            *state != PeerState::Looking && vote.election_epoch > after_round
        };
        let (state, vote) = *soon(self.role.wait_for(is_settled)).await.unwrap();
        (state, vote.leader.0)
    }
}

/// With a wait that never ends, only early decisions elect anyone.
#[tokio::test]
async fn three_servers_elect_and_the_survivors_elect_again() {
    let listeners = listeners(3).await;
    let members = members_at(&listeners);
    let numbered = listeners.into_iter().zip(1..);
    let mut nodes: Vec<Node> = numbered
        .map(|(listener, id)| node(id, &members, listener, 3_600_000))
        .collect();
    let mut leaders = BTreeSet::new();
    for node in &mut nodes {
        leaders.insert(node.leader(0).await.1);
    }
    assert_eq!(leaders.len(), 1, "{leaders:?}");
    let gone = nodes.remove(leaders.pop_first().unwrap() as usize - 1);
    gone.task.abort();
    assert!(gone.task.await.unwrap_err().is_cancelled());
    let rounds = nodes.iter().map(|node| node.role.borrow().1.election_epoch);
    let last_round = rounds.max().unwrap();
    for node in &nodes {
        node.look.send(()).unwrap();
    }
    let mut states = Vec::new();
    for node in &mut nodes {
        states.push(node.leader(last_round).await);
    }
    assert_eq!(states[0].1, states[1].1);
    assert!(states[1].0 == PeerState::Leading && states[0].0 == PeerState::Following);
}

async fn frame(stream: &mut TcpStream) -> Vec<u8> {
    let length = soon(stream.read_i32()).await.unwrap();
    let mut body = vec![0; length as usize];
    soon(stream.read_exact(&mut body)).await.unwrap();
    body
}

fn hello(server: i64) -> Bytes {
    let handshake = Handshake {
        server: ServerId(server),
        addresses: vec!["127.0.0.1:1".to_owned()],
    };
    handshake.encode()
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    // A reset is an end too.
    soon(stream.read_u8()).await.is_err()
}

#[tokio::test]
async fn a_larger_server_stays_and_gets_the_newest_message_on_each_connection() {
    let mut listeners = listeners(2).await;
    let members = members_at(&listeners);
    // Nobody accepts as server 2: what this side dials leads nowhere.
    let _two = listeners.pop().unwrap();
    let (mesh, mut events) = mesh(config(1, &members), listeners.pop().unwrap());
    for body in ["old", "older", "newest"] {
        mesh.send(ServerId(2), Bytes::from(body));
    }
    for _ in 0..2 {
        let mut stream = TcpStream::connect(mesh.local_addrs()[0]).await.unwrap();
        stream.write_all(&hello(2)).await.unwrap();
        assert_eq!(soon(events.recv()).await, Some(PeerEvent::LinkUp(ServerId(2))));
        assert_eq!(frame(&mut stream).await, b"newest");
        stream.write_all(b"\0\0\0\x02hi\0\0\0").await.unwrap();
        let (from, body) = (ServerId(2), Bytes::from("hi"));
        assert_eq!(
            soon(events.recv()).await,
            Some(PeerEvent::Received { from, body })
        );
        drop(stream);
        assert_eq!(soon(events.recv()).await, Some(PeerEvent::LinkDown(ServerId(2))));
    }
    let mut first = TcpStream::connect(mesh.local_addrs()[0]).await.unwrap();
    first.write_all(&hello(2)).await.unwrap();
    frame(&mut first).await;
    let mut second = TcpStream::connect(mesh.local_addrs()[0]).await.unwrap();
    second.write_all(&hello(2)).await.unwrap();
    assert!(is_closed(&mut first).await, "a newer connection replaces it");
    frame(&mut second).await;
    second.write_all(&[0xff, 0xff, 0xff, 0xff]).await.unwrap();
    assert!(is_closed(&mut second).await, "no message is that long");
}

#[tokio::test]
async fn zk_2164_a_smaller_server_is_dialled_back_where_the_list_has_it() {
    let mut listeners = listeners(2).await;
    let members = members_at(&listeners);
    let (mesh, mut events) = mesh(config(2, &members), listeners.pop().unwrap());
    let one = listeners.pop().unwrap();
    let mut call = TcpStream::connect(mesh.local_addrs()[0]).await.unwrap();
    // It knows itself by no address that leads anywhere.
    let handshake = Handshake {
        server: ServerId(1),
        addresses: vec!["0.0.0.0:1".to_owned()],
    };
    call.write_all(&handshake.encode()).await.unwrap();
    assert!(is_closed(&mut call).await);
    let (mut stream, _) = soon(one.accept()).await.unwrap();
    let mut handshake = BytesMut::new();
    while Handshake::decode(&handshake).unwrap().is_none() {
        assert!(soon(stream.read_buf(&mut handshake)).await.unwrap() > 0);
    }
    let (handshake, _) = Handshake::decode(&handshake).unwrap().unwrap();
    assert_eq!(handshake.server, ServerId(2));
    assert_eq!(handshake.addresses, [mesh.local_addrs()[0].to_string()]);
    assert_eq!(soon(events.recv()).await, Some(PeerEvent::LinkUp(ServerId(1))));
    mesh.send(ServerId(1), Bytes::from("vote"));
    assert_eq!(frame(&mut stream).await, b"vote");
}

#[tokio::test]
async fn strangers_are_closed_and_change_nothing() {
    let mut listeners = listeners(2).await;
    let members = members_at(&listeners);
    let _two = listeners.pop().unwrap();
    let mut config = config(1, &members);
    config.handshake_timeout = Duration::from_millis(100);
    let (mesh, mut events) = mesh(config, listeners.pop().unwrap());
    let (unknown, same) = (hello(9), hello(1));
    let strangers: [&[u8]; 7] = [
        b"ruok",
        b"GET / HTTP/1.1\r\n\r\n",
        &[0xff; 20],
        b"\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0\x02\x7f\xff\xff\xff",
        b"",
        &unknown,
        &same,
    ];
    for bytes in strangers {
        let mut stream = TcpStream::connect(mesh.local_addrs()[0]).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        assert!(is_closed(&mut stream).await, "{bytes:?}");
    }
    assert!(events.try_recv().is_err());
    let mut stream = TcpStream::connect(mesh.local_addrs()[0]).await.unwrap();
    stream.write_all(&hello(2)).await.unwrap();
    assert_eq!(soon(events.recv()).await, Some(PeerEvent::LinkUp(ServerId(2))));
}

#[tokio::test]
async fn zk_3756_every_address_is_tried_and_an_unknown_host_is_no_end() {
    let mut listeners = listeners(2).await;
    let port = listeners[0].local_addr().unwrap().port();
    let own = listeners[1].local_addr().unwrap().port();
    let unknown = "nowhere.invalid:1:2";
    let text = format!("server.1={unknown}|127.0.0.1:1:{port}\nserver.2={unknown}\nserver.3=h:1:{own}");
    let mut config = config(3, &Members::parse(&text).unwrap());
    config.connect_timeout = Duration::from_secs(2);
    let (mesh, mut events) = mesh(config, listeners.pop().unwrap());
    mesh.dial_all();
    let one = listeners.pop().unwrap();
    let _stream = soon(one.accept()).await.unwrap();
    let mut seen = [
        soon(events.recv()).await.unwrap(),
        soon(events.recv()).await.unwrap(),
    ];
    seen.sort_by_key(|event| event == &PeerEvent::LinkDown(ServerId(2)));
    assert_eq!(
        seen,
        [PeerEvent::LinkUp(ServerId(1)), PeerEvent::LinkDown(ServerId(2))]
    );
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut config = config(1, &members_at(&[taken]));
    let _taken = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    config.listen = vec![("127.0.0.1".to_owned(), port)];
    let error = start(config.clone(), |_| {}).await.unwrap_err().to_string();
    assert!(
        error.contains(&format!("127.0.0.1, election port {port}")),
        "{error}"
    );
    config.listen = vec![("127.0.0.1".to_owned(), 0), (String::new(), 0)];
    let started = start(config, |_| {}).await.unwrap();
    assert_eq!(started.local_addrs().len(), 2);
}
