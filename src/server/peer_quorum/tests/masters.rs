//! The port on which followers serve observers.

use super::super::receive::pop_packets;
use super::*;

/// An observer that knows that port of server 2, whose quorum port leads nowhere.
fn observer_config(port: u16) -> PeerQuorumConfig {
    PeerQuorumConfig {
        observer_master_port: Some(port),
        ..learner_config(1)
    }
}

#[tokio::test]
async fn a_follower_has_observers_beside_its_leader_and_all_end_with_the_role() {
    let (mut leader, mut follower, to_leader) = raw_leader(|_| {}).await;
    follower.quorum.listen_for_observers(1);
    let mut observer = Server::start(observer_config(follower.address().await.port()));
    observer.quorum.connect_to_master(6, ServerId(2));
    let (role, to_master) = observer.link_up().await;
    assert_eq!(role, 6);
    let first = packet(PacketType::ObserverInfo, 0, &[0; 20]);
    observer.quorum.send(to_master, first.to_bytes());
    let (role, to_observer) = follower.link_up().await;
    assert!(role == 1 && to_observer != to_leader);
    assert_eq!(follower.packets(1, to_observer, 1).await, [first]);
    // What comes from the leader and what comes from the observer is told apart, and so is where it goes.
    let inform = packet(PacketType::Inform, 3, b"txn");
    follower.quorum.send(to_observer, inform.to_bytes());
    assert_eq!(observer.packets(6, to_master, 1).await, [inform]);
    let ack = packet(PacketType::Ack, 3, b"");
    follower.quorum.send(to_leader, ack.to_bytes());
    let mut bytes = vec![0; ack.to_bytes().len()];
    soon(leader.read_exact(&mut bytes)).await.unwrap();
    assert_eq!(bytes, ack.to_bytes());
    let commit = packet(PacketType::Commit, 3, b"");
    soon(leader.write_all(&commit.to_bytes())).await.unwrap();
    assert_eq!(follower.packets(1, to_leader, 1).await, [commit]);
    follower.quorum.reset();
    assert_eq!(observer.link_down().await, (6, to_master));
    assert_eq!(read_to_end(&mut leader).await, [0u8; 0]);
    drop(leader);
    soon(follower.quorum.drained()).await;
    assert!(follower.quorum.local_addrs().borrow().is_empty());
}

#[tokio::test]
async fn a_follower_that_serves_no_observers_is_a_link_down() {
    let taken = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    taken.bind(&any_port.into()).unwrap();
    let port = taken.local_addr().unwrap().as_socket().unwrap().port();
    let mut observer = Server::start(observer_config(port));
    observer.quorum.connect_to_master(3, ServerId(2));
    assert_eq!(observer.link_down().await.0, 3);
}

#[test]
fn an_image_comes_from_a_master_as_from_a_leader() {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let snap = packet(PacketType::Snap, 7, b"").to_bytes();
    for (peer, expected) in [
        (Peer::Leader(ServerId(2), address), 1),
        (Peer::Master(ServerId(2), address), 1),
        (Peer::Learner(address), 2),
    ] {
        let mut unread = BytesMut::from(&[&snap[..], &snap[..]].concat()[..]);
        let (packets, _) = pop_packets(&mut unread, peer, 1000).unwrap();
        assert_eq!(packets.len(), expected, "{peer}");
    }
}
