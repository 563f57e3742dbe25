//! What is written at once, and what waits.

use bytes::Buf;

use super::*;

/// So many packets, each with its number and enough to fill a socket before long.
fn numbered(count: i64) -> Vec<Bytes> {
    let filling = [7; 8 << 10];
    let zxids = 1..=count;
    zxids
        .map(|zxid| packet(PacketType::Proposal, zxid, &filling).to_bytes())
        .collect()
}

/// The numbers of so many packets.
async fn read_numbers(stream: &mut TcpStream, count: usize) -> Vec<i64> {
    let mut bytes = BytesMut::new();
    let mut numbers = Vec::new();
    while numbers.len() < count {
        while let Some((packet, used)) = QuorumPacket::decode(&bytes, 4 << 20).unwrap() {
            bytes.advance(used);
            numbers.push(packet.zxid.0);
        }
        if numbers.len() < count {
            assert_ne!(soon(stream.read_buf(&mut bytes)).await.unwrap(), 0);
        }
    }
    numbers
}

/// The peer takes nothing at first, so that some packets are written at once, some in part, and some wait;
/// then it takes all while more is sent.
#[tokio::test]
async fn packets_keep_their_order_however_they_are_sent() {
    let mut leader = Server::start(config());
    leader.quorum.listen(1);
    let (mut stream, _, link) = raw_learner(&mut leader).await;
    let packets = numbered(4000);
    let (first, then) = packets.split_at(2000);
    for packet in first {
        leader.quorum.send(link, packet.clone());
    }
    let reading = read_numbers(&mut stream, packets.len());
    let sending = async {
        for (at, packet) in then.iter().enumerate() {
            match at % 7 {
                0 => leader.quorum.queue(link, std::iter::once(packet.clone())),
                _ => leader.quorum.send(link, packet.clone()),
            }
            tokio::task::yield_now().await;
        }
    };
    let (numbers, ()) = tokio::join!(reading, sending);
    assert!(numbers.into_iter().eq(1..=4000));
}

/// A packet for which the socket has room does not wait for the link's task.
#[tokio::test]
async fn a_packet_is_written_at_once() {
    let mut leader = Server::start(config());
    leader.quorum.listen(1);
    let (stream, _, link) = raw_learner(&mut leader).await;
    let sent = packet(PacketType::Ping, 3, b"").to_bytes();
    // Nothing else runs between the two.
    leader.quorum.send(link, sent.clone());
    let mut stream = stream.into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut received = vec![0; sent.len()];
    std::io::Read::read_exact(&mut stream, &mut received).unwrap();
    assert_eq!(received, sent);
}
