use std::net::TcpListener as StdListener;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;
use crate::proto::quorum::PacketType;
use crate::proto::stat::StatPersisted;
use crate::storage::snapshot_stream;
use crate::tree::SnapshotCursor;

mod images;
mod masters;

const PATIENCE: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(100);

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it happens soon")
}

/// A server without peers that listens on any port and is in no hurry.
fn config() -> PeerQuorumConfig {
    PeerQuorumConfig {
        me: ServerId(1),
        members: Members::default(),
        listen: vec![("127.0.0.1".to_owned(), 0)],
        listen_for_observers: vec![("127.0.0.1".to_owned(), 0)],
        observer_master_port: None,
        connect_timeout: LONG,
        hello_timeout: LONG,
        stall_timeout: LONG,
        packet_bytes_max: 4 << 20,
        record_bytes_max: 4 << 20,
        hash_seed: 7,
    }
}

/// A server whose leader, server 2, is at that port.
fn learner_config(port: u16) -> PeerQuorumConfig {
    PeerQuorumConfig {
        members: Members::parse(&format!("server.2=127.0.0.1:{port}:1")).unwrap(),
        ..config()
    }
}

struct Server {
    quorum: PeerQuorum,
    events: UnboundedReceiver<(u64, QuorumEvent)>,
}

impl Server {
    fn start(config: PeerQuorumConfig) -> Server {
        // What does not leave by then never will.
        Server::start_with(config, LONG)
    }

    fn start_with(config: PeerQuorumConfig, farewell: Duration) -> Server {
        let (sender, events) = unbounded_channel();
        let deliver: Deliver = Box::new(move |role, event| drop(sender.send((role, event))));
        let quorum = start_with(config, farewell, deliver);
        Server { quorum, events }
    }

    /// Where it listens, once it does.
    async fn address(&self) -> SocketAddr {
        let mut addresses = self.quorum.local_addrs();
        soon(addresses.wait_for(|addresses| !addresses.is_empty()))
            .await
            .unwrap()[0]
    }

    async fn next(&mut self) -> (u64, QuorumEvent) {
        soon(self.events.recv()).await.unwrap()
    }

    async fn link_up(&mut self) -> (u64, LinkId) {
        match self.next().await {
            (role, QuorumEvent::LinkUp(link)) => (role, link),
            other => panic!("{other:?}"),
        }
    }

    async fn link_down(&mut self) -> (u64, LinkId) {
        match self.next().await {
            (role, QuorumEvent::LinkDown(link)) => (role, link),
            other => panic!("{other:?}"),
        }
    }

    /// So many packets of that link and role, and nothing else.
    async fn packets(&mut self, role: u64, link: LinkId, count: usize) -> Vec<QuorumPacket> {
        let mut all = Vec::new();
        while all.len() < count {
            match self.next().await {
                (of, QuorumEvent::Packets(from, packets)) if (of, from) == (role, link) => {
                    all.extend(packets)
                }
                other => panic!("{other:?}"),
            }
        }
        all
    }

    fn is_silent(&mut self) -> bool {
        self.events.try_recv().is_err()
    }
}

/// A connection to that server that has begun as a learner does, and its link there.
async fn raw_learner(server: &mut Server) -> (TcpStream, u64, LinkId) {
    let mut stream = TcpStream::connect(server.address().await).await.unwrap();
    stream.write_all(&hello()).await.unwrap();
    let (role, link) = server.link_up().await;
    assert_eq!(server.packets(role, link, 1).await[0].to_bytes(), hello());
    (stream, role, link)
}

/// A learner of role 1 that is connected to the other end, and its link.
async fn raw_leader(change: impl FnOnce(&mut PeerQuorumConfig)) -> (TcpStream, Server, LinkId) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = learner_config(listener.local_addr().unwrap().port());
    change(&mut config);
    let mut learner = Server::start(config);
    learner.quorum.connect(1, ServerId(2));
    let (stream, _) = soon(listener.accept()).await.unwrap();
    let (_, link) = learner.link_up().await;
    (stream, learner, link)
}

fn packet(kind: PacketType, zxid: i64, data: &[u8]) -> QuorumPacket {
    QuorumPacket::new(kind, Zxid(zxid), Some(Bytes::copy_from_slice(data)))
}

fn hello() -> Bytes {
    packet(PacketType::FollowerInfo, 0, &[0; 20]).to_bytes()
}

/// Reads until the other side ends; a reset is an end, too.
async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = soon(stream.read_to_end(&mut bytes)).await;
    bytes
}

#[tokio::test]
async fn links_carry_packets_both_ways_in_order() {
    let mut leader = Server::start(config());
    leader.quorum.listen(70);
    let mut learner = Server::start(learner_config(leader.address().await.port()));
    learner.quorum.connect(80, ServerId(2));
    let (role, to_leader) = learner.link_up().await;
    assert_eq!(role, 80);
    learner.quorum.send(to_leader, hello());
    let (role, to_learner) = leader.link_up().await;
    assert_eq!(role, 70);
    assert_eq!(leader.packets(70, to_learner, 1).await[0].to_bytes(), hello());
    let big = vec![5; 3 << 20];
    let mut expected = Vec::new();
    for zxid in 0..3000 {
        let data = if zxid % 1000 == 500 { &big[..] } else { b"small" };
        expected.push(packet(PacketType::Proposal, zxid, data));
    }
    for packet in &expected {
        leader.quorum.send(to_learner, packet.to_bytes());
        learner.quorum.send(to_leader, packet.to_bytes());
    }
    assert!(learner.packets(80, to_leader, 3000).await == expected);
    assert!(leader.packets(70, to_learner, 3000).await == expected);
    learner.quorum.close(to_leader, "the test is over".to_owned());
    assert_eq!(leader.link_down().await, (70, to_learner));
    soon(learner.quorum.drained()).await;
    leader.quorum.send(to_learner, hello());
    leader.quorum.close(to_learner, "it is gone already".to_owned());
    soon(leader.quorum.drained()).await;
    assert!(learner.is_silent() && leader.is_silent());
}

#[tokio::test]
async fn a_leader_that_cannot_be_reached_is_a_link_down() {
    // The port is nobody else's, and nobody listens.
    let taken = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    taken.bind(&any_port.into()).unwrap();
    let port = taken.local_addr().unwrap().as_socket().unwrap().port();
    let mut learner = Server::start(learner_config(port));
    learner.quorum.connect(3, ServerId(2));
    let (role, first) = learner.link_down().await;
    assert_eq!(role, 3);
    learner.quorum.connect(4, ServerId(9));
    let (role, second) = learner.link_down().await;
    assert!(role == 4 && first != second);
}

#[tokio::test]
async fn every_address_of_the_leader_is_tried() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut config = config();
    let line = format!("server.2=nowhere.invalid:1:1|127.0.0.1:{port}:1");
    config.members = Members::parse(&line).unwrap();
    let mut learner = Server::start(config);
    learner.quorum.connect(1, ServerId(2));
    let _stream = soon(listener.accept()).await.unwrap();
    learner.link_up().await;
}

#[tokio::test]
async fn strangers_are_closed_and_not_heard_of() {
    let mut config = config();
    config.packet_bytes_max = 1000;
    let mut leader = Server::start(config);
    leader.quorum.listen(1);
    let too_long = packet(PacketType::FollowerInfo, 0, &[0; 5000]).to_bytes();
    let not_first = packet(PacketType::Ack, 0, b"").to_bytes();
    let strangers: [(&[u8], &str); 10] = [
        (b"ruok", "four-letter word"),
        (b"GET / HTTP/1.1\r\n\r\n", "HTTP"),
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", "sslQuorum"),
        (b"\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0\x01", "election"),
        (b"\0\0\0\x2d\0\0\0\0\0\0\0\0", "client"),
        (&[0x80; 30], "\\x80"),
        (&too_long, "it sent"),
        (&not_first, "it sent"),
        (b"\0\0\0\x0b\0\0\0\0\0\0\0\0\xff\xff\xff\xfe", "it sent"),
        (b"\0\0\0\x0b\0\0\0\0\0\0\0\0\0\0\x10\x01", "it sent"),
    ];
    for (bytes, words) in strangers {
        let mut stream = TcpStream::connect(leader.address().await).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        assert_eq!(read_to_end(&mut stream).await, b"", "{words}");
        let description = greet::describe(bytes).unwrap();
        assert!(description.contains(words), "{description}");
    }
    let mut early = TcpStream::connect(leader.address().await).await.unwrap();
    early.write_all(&hello()[..7]).await.unwrap();
    early.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut early).await, b"");
    assert_eq!(greet::describe(b""), None);
    // The first word of all is that of a learner.
    let (mut stream, ..) = raw_learner(&mut leader).await;
    stream
        .write_all(&packet(PacketType::Ack, 0, &[0; 1001]).to_bytes())
        .await
        .unwrap();
    leader.link_down().await;
    assert_eq!(read_to_end(&mut stream).await, b"");
}

#[tokio::test]
async fn silent_connections_are_closed() {
    let mut config = config();
    config.hello_timeout = SHORT;
    let mut leader = Server::start(config);
    leader.quorum.listen(1);
    for part in [&b""[..], &hello()[..30]] {
        let mut stream = TcpStream::connect(leader.address().await).await.unwrap();
        stream.write_all(part).await.unwrap();
        assert_eq!(read_to_end(&mut stream).await, b"");
    }
    assert!(leader.is_silent());
}

#[tokio::test]
async fn a_first_packet_may_come_in_parts_and_with_others_behind_it() {
    let mut leader = Server::start(config());
    leader.quorum.listen(1);
    let mut stream = TcpStream::connect(leader.address().await).await.unwrap();
    let mut bytes = hello().to_vec();
    bytes.extend_from_slice(&packet(PacketType::AckEpoch, 5, &[0; 4]).to_bytes());
    // A SNAP from a learner is a packet like others here: no image follows.
    bytes.extend_from_slice(&packet(PacketType::Snap, 6, b"").to_bytes());
    bytes.extend_from_slice(&packet(PacketType::Ack, 7, b"").to_bytes());
    stream.set_nodelay(true).unwrap();
    let (dribbled, at_once) = bytes.split_at(hello().len() - 1);
    for byte in dribbled {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(leader.is_silent());
    stream.write_all(at_once).await.unwrap();
    let (role, link) = leader.link_up().await;
    let packets = leader.packets(role, link, 4).await;
    let zxids: Vec<i64> = packets.iter().map(|packet| packet.zxid.0).collect();
    assert_eq!(zxids, [0, 5, 6, 7]);
}

/// How often a long packet is looked at must not grow with the number of its parts.
#[test]
fn a_packet_in_parts_is_decoded_when_it_is_whole() {
    let peer = Peer::Learner(SocketAddr::from(([127, 0, 0, 1], 1)));
    let mut long = packet(PacketType::Request, 9, &[1; 50_000]);
    let id = crate::proto::acl::Id {
        scheme: "digest".to_owned(),
        id: "somebody".to_owned(),
    };
    long.authinfo = Some(vec![id]);
    let bytes = long.to_bytes();
    let (mut looks, mut length) = (0, 1);
    while length < bytes.len() {
        let mut unread = BytesMut::from(&bytes[..length]);
        let (packets, wanted) = receive::pop_packets(&mut unread, peer, 60_000).unwrap();
        assert!(packets.is_empty() && unread.len() == length, "{length}");
        assert!(length < wanted && wanted <= bytes.len(), "{length}: {wanted}");
        length = wanted;
        looks += 1;
    }
    assert!(looks <= 6, "{looks} looks");
    let mut unread = BytesMut::from(&bytes[..]);
    assert_eq!(receive::pop_packets(&mut unread, peer, 60_000).unwrap().0, [long]);
    assert!(unread.is_empty());
    // Many identities that are each short enough make a packet that is not.
    let mut many = packet(PacketType::Request, 9, b"").to_bytes().to_vec();
    many.truncate(16);
    many.extend_from_slice(&1000_i32.to_be_bytes());
    for _ in 0..40 {
        many.extend_from_slice(&5000_i32.to_be_bytes());
        many.extend_from_slice(&[b'a'; 5000]);
    }
    assert!(receive::pop_packets(&mut BytesMut::from(&many[..]), peer, 60_000).is_err());
}

#[tokio::test]
async fn a_peer_that_takes_nothing_is_ended() {
    let mut config = config();
    config.stall_timeout = SHORT;
    let mut leader = Server::start(config);
    leader.quorum.listen(1);
    let (_stream, role, link) = raw_learner(&mut leader).await;
    // More than the buffers of both sides take.
    for _ in 0..64 {
        leader.quorum.send(link, Bytes::from(vec![0; 1 << 20]));
    }
    assert_eq!(leader.link_down().await, (role, link));
}

/// Without a system that gives up by itself.
#[tokio::test]
async fn a_writer_does_not_wait_for_ever() {
    let (writer, _other_end) = tokio::io::duplex(100);
    let (sender, queue) = unbounded_channel();
    sender.send(Item::Packets(hello())).unwrap();
    sender.send(Item::Packets(Bytes::from(vec![0; 1000]))).unwrap();
    let mut sender = link::Sender::new(writer, SHORT, Arc::default());
    let error = soon(sender.run(queue, || ())).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn too_much_that_waits_ends_the_link() {
    let mut leader = Server::start(config());
    leader.quorum.listen(1);
    let (_stream, role, link) = raw_learner(&mut leader).await;
    let shared = Bytes::from(vec![0; 16 << 20]);
    for _ in 0..40 {
        leader.quorum.send(link, shared.clone());
    }
    assert_eq!(leader.link_down().await, (role, link));
}

/// What was taken no longer counts.
#[tokio::test]
async fn a_peer_that_keeps_up_may_be_sent_any_amount() {
    let mut leader = Server::start(config());
    leader.quorum.listen(1);
    let (mut stream, _, link) = raw_learner(&mut leader).await;
    let shared = Bytes::from(vec![0; 40 << 20]);
    let mut sink = vec![0; 40 << 20];
    for _ in 0..14 {
        leader.quorum.send(link, shared.clone());
        soon(stream.read_exact(&mut sink)).await.unwrap();
    }
    assert!(leader.is_silent());
}

#[tokio::test]
async fn what_waits_when_a_link_is_closed_still_leaves() {
    let mut leader = Server::start(config());
    leader.quorum.listen(1);
    let (mut stream, _, link) = raw_learner(&mut leader).await;
    // More than the buffers of both sides take.
    let big = Bytes::from(vec![0; 1 << 20]);
    for _ in 0..16 {
        leader.quorum.send(link, hello());
        leader.quorum.send(link, big.clone());
    }
    leader.quorum.close(link, "enough".to_owned());
    leader.quorum.send(link, hello());
    let mut received = vec![0; hello().len()];
    soon(stream.read_exact(&mut received)).await.unwrap();
    // That nobody reads this any more must not turn the end into a reset.
    stream.write_all(&[0, 0, 0, 5]).await.unwrap();
    soon(stream.read_to_end(&mut received)).await.unwrap();
    assert_eq!(received.len(), 16 * (hello().len() + big.len()));
    drop(stream);
    soon(leader.quorum.drained()).await;
    assert!(leader.is_silent());
}

#[tokio::test]
async fn a_closed_link_does_not_wait_for_a_peer_that_takes_nothing() {
    let mut leader = Server::start_with(config(), SHORT);
    leader.quorum.listen(1);
    let (_takes_nothing, _, link) = raw_learner(&mut leader).await;
    let (_stays, _, other) = raw_learner(&mut leader).await;
    for _ in 0..64 {
        leader.quorum.send(link, Bytes::from(vec![0; 1 << 20]));
    }
    leader.quorum.close(link, "enough".to_owned());
    leader.quorum.close(other, "enough".to_owned());
    soon(leader.quorum.drained()).await;
    assert!(leader.is_silent());
}

#[tokio::test]
async fn what_is_being_closed_is_waited_for() {
    let mut leader = Server::start(config());
    leader.quorum.listen(1);
    for is_reset in [false, true] {
        let (mut stream, _, link) = raw_learner(&mut leader).await;
        for _ in 0..64 {
            leader.quorum.send(link, Bytes::from(vec![0; 1 << 20]));
        }
        if is_reset {
            leader.quorum.reset();
        } else {
            leader.quorum.close(link, "enough".to_owned());
        }
        {
            let mut drained = pin!(leader.quorum.drained());
            for _ in 0..100 {
                tokio::task::yield_now().await;
                let polled = drained.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                assert_eq!(polled, Poll::Pending);
            }
        }
        read_to_end(&mut stream).await;
        drop(stream);
        soon(leader.quorum.drained()).await;
    }
}

/// Connecting may be over in the moment in which the role ends.
#[test]
fn nothing_begins_in_a_role_that_is_over() {
    let links = Links::default();
    let peer = Peer::Learner(SocketAddr::from(([127, 0, 0, 1], 1)));
    let role = links.begin(5);
    let first = links.open(role, peer).unwrap().id;
    assert_ne!(links.unused_id(role), Some(first));
    links.close_all();
    assert!(links.open(role, peer).is_none() && links.unused_id(role).is_none());
    assert!(
        links
            .open(links.begin(5), peer)
            .is_some_and(|link| link.id != first)
    );
}

#[tokio::test]
async fn a_role_ends_with_all_that_belongs_to_it_and_another_begins() {
    let free = StdListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut config = config();
    config.listen = vec![("127.0.0.1".to_owned(), port)];
    let mut leader = Server::start(config);
    for role in [5, 3] {
        leader.quorum.listen(role);
        let (mut stream, of, link) = raw_learner(&mut leader).await;
        assert_eq!(of, role);
        let mut silent = TcpStream::connect(leader.address().await).await.unwrap();
        leader.quorum.send(link, hello());
        leader.quorum.reset();
        assert_eq!(read_to_end(&mut stream).await, hello());
        assert_eq!(read_to_end(&mut silent).await, b"");
        drop(stream);
        soon(leader.quorum.drained()).await;
        assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
        leader.quorum.send(link, hello());
        assert!(leader.is_silent());
    }
    // A role that is over before it has begun.
    leader.quorum.listen(8);
    leader.quorum.connect(8, ServerId(9));
    leader.quorum.reset();
    soon(leader.quorum.drained()).await;
    assert!(leader.is_silent());
}

/// The port comes free while the role goes on.
#[tokio::test]
async fn a_port_that_is_taken_is_tried_again() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config();
    config.listen = vec![("127.0.0.1".to_owned(), taken.local_addr().unwrap().port())];
    let mut leader = Server::start(config);
    leader.quorum.listen(1);
    // All tasks run on this thread: after so many turns the first attempt is over.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    drop(taken);
    raw_learner(&mut leader).await;
}

#[tokio::test]
async fn the_links_end_with_the_handle() {
    let mut leader = Server::start(config());
    leader.quorum.listen(1);
    let (mut stream, ..) = raw_learner(&mut leader).await;
    let address = leader.address().await;
    drop(leader.quorum);
    assert_eq!(read_to_end(&mut stream).await, b"");
    assert!(TcpStream::connect(address).await.is_err());
}
