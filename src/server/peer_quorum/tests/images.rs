//! Images: what they are between, how they arrive, how they break.

use super::*;
use crate::proto::jute::Put;

/// A tree of some megabytes.
fn tree() -> DataTree {
    let mut tree = DataTree::empty(7);
    let data = vec![b'd'; 1000];
    for number in 0..3000 {
        let path = format!("/n{number:04}");
        tree.load_node(&path, Some(&data), -1, StatPersisted::default())
            .unwrap();
    }
    tree.finish_load(Zxid(42));
    tree
}

fn image(tree: &mut DataTree) -> Vec<u8> {
    let mut bytes = Vec::new();
    snapshot_stream::encode_begin(&tree.snapshot_begin(), &mut bytes);
    assert!(tree.snapshot_chunk(&mut SnapshotCursor::default(), &mut bytes, usize::MAX));
    tree.snapshot_end();
    snapshot_stream::encode_end(&mut bytes);
    bytes
}

fn snap() -> Bytes {
    packet(PacketType::Snap, 42, b"").to_bytes()
}

fn new_leader() -> QuorumPacket {
    packet(PacketType::NewLeader, 0, b"config")
}

/// SNAP, an image, and two packets behind it.
fn snap_and_behind(image: &[u8]) -> Vec<u8> {
    let packet = new_leader().to_bytes();
    [&snap()[..], image, &packet, &packet].concat()
}

impl Server {
    /// The SNAP packet and its image come next.
    async fn image(&mut self, link: LinkId) -> Box<DataTree> {
        let packets = self.packets(1, link, 1).await;
        assert!(packets.len() == 1 && packets[0].kind == PacketType::Snap);
        self.image_alone(link).await
    }

    async fn image_alone(&mut self, link: LinkId) -> Box<DataTree> {
        match self.next().await {
            (
                1,
                QuorumEvent::Image {
                    link: from,
                    zxid,
                    tree,
                },
            ) => {
                assert!(from == link && zxid == Zxid(42));
                assert_eq!(tree.last_processed_zxid(), Zxid(42));
                tree
            }
            other => panic!("{other:?}"),
        }
    }

    async fn new_leaders(&mut self, link: LinkId, count: usize) {
        let packets = self.packets(1, link, count).await;
        assert!(packets.iter().all(|packet| *packet == new_leader()));
    }
}

fn assert_same(tree: &DataTree, other: &DataTree) {
    assert_eq!(
        (tree.node_count(), tree.digest()),
        (other.node_count(), other.digest())
    );
}

#[tokio::test]
async fn images_arrive_with_what_is_behind_them() {
    let (mut stream, mut learner, link) = raw_leader(|_| {}).await;
    let mut tree = tree();
    let image = image(&mut tree);
    // One that ends within a read, and one behind it on the same link.
    let bytes = snap_and_behind(&image);
    let sending = tokio::spawn(async move {
        stream.write_all(&[&bytes[..], &bytes].concat()).await.unwrap();
        stream
    });
    assert_same(&*learner.image(link).await, &tree);
    let between = learner.packets(1, link, 3).await;
    assert!(between[0] == new_leader() && between[1] == new_leader());
    assert!(between.len() == 3 && between[2].kind == PacketType::Snap);
    assert_same(&*learner.image_alone(link).await, &tree);
    learner.new_leaders(link, 2).await;
    drop(sending.await.unwrap());
    assert_eq!(learner.link_down().await, (1, link));
}

/// With the end of the image the reader's buffer of a megabyte is full but for a few bytes, so that it leaves
/// a part of a read behind.
#[tokio::test]
async fn what_the_reader_of_an_image_has_no_room_for_is_not_lost() {
    let (mut stream, mut learner, link) = raw_leader(|_| {}).await;
    // Neither sessions nor ACLs.
    let mut bytes = [&snap()[..], &[0; 8]].concat();
    let big = vec![1; (1 << 20) - 80 - 19 - 10];
    for (path, data) in [("", &b""[..]), ("/big", &big)] {
        bytes.put_string(path);
        bytes.put_buffer(Some(data));
        bytes.put_long(-1);
        bytes.extend_from_slice(&[0; 60]);
    }
    snapshot_stream::encode_end(&mut bytes);
    let behind = packet(PacketType::Proposal, 43, &vec![2; 500_000]);
    bytes.extend_from_slice(&behind.to_bytes());
    let sending = tokio::spawn(async move {
        stream.write_all(&bytes).await.unwrap();
        stream
    });
    let tree = learner.image(link).await;
    assert!(tree.lookup("/big").is_some());
    assert!(learner.packets(1, link, 1).await == [behind]);
    drop(sending.await.unwrap());
}

#[tokio::test]
async fn an_image_may_dribble() {
    let (mut stream, mut learner, link) = raw_leader(|_| {}).await;
    let mut tree = DataTree::new(7);
    let bytes = snap_and_behind(&image(&mut tree));
    stream.set_nodelay(true).unwrap();
    for byte in bytes {
        stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_same(&*learner.image(link).await, &tree);
    learner.new_leaders(link, 2).await;
}

#[tokio::test]
async fn a_broken_image_ends_the_link() {
    let whole = image(&mut tree());
    let mut no_signature = whole.clone();
    no_signature.truncate(whole.len() - 1);
    no_signature.push(b'!');
    // A path of a length that nothing has, and an end in the middle.
    let claims = [&[0, 0, 0, 0, 0, 0, 0, 0][..], &i32::MAX.to_be_bytes()].concat();
    for (broken, is_cut) in [
        (no_signature, false),
        (claims, false),
        (whole[..2_000_000].to_vec(), true),
    ] {
        let (mut stream, mut learner, link) = raw_leader(|_| {}).await;
        stream.write_all(&snap()).await.unwrap();
        stream.write_all(&broken).await.unwrap();
        if is_cut {
            stream.shutdown().await.unwrap();
        }
        learner.packets(1, link, 1).await;
        assert_eq!(learner.link_down().await, (1, link));
        assert_eq!(read_to_end(&mut stream).await, b"");
        assert!(learner.is_silent());
    }
}

#[tokio::test]
async fn an_image_that_does_not_go_on_ends_the_link() {
    let (mut stream, mut learner, link) = raw_leader(|config| config.stall_timeout = SHORT).await;
    let image = image(&mut tree());
    stream.write_all(&snap()).await.unwrap();
    stream.write_all(&image[..1_000_000]).await.unwrap();
    learner.packets(1, link, 1).await;
    assert_eq!(learner.link_down().await, (1, link));
}

/// The learner's role ends in the middle of an image: nothing more is heard of it.
#[tokio::test]
async fn an_image_ends_with_the_role() {
    let (mut stream, mut learner, link) = raw_leader(|_| {}).await;
    stream.write_all(&snap()).await.unwrap();
    learner.packets(1, link, 1).await;
    learner.quorum.reset();
    assert_eq!(read_to_end(&mut stream).await, b"");
    drop(stream);
    soon(learner.quorum.drained()).await;
    assert!(learner.is_silent());
}

#[tokio::test]
async fn what_is_sent_behind_an_image_comes_behind_it() {
    let mut leader = Server::start(config());
    leader.quorum.listen(9);
    let mut learner = Server::start(learner_config(leader.address().await.port()));
    learner.quorum.connect(1, ServerId(2));
    let (_, to_leader) = learner.link_up().await;
    learner.quorum.send(to_leader, hello());
    let (_, to_learner) = leader.link_up().await;
    leader.packets(9, to_learner, 1).await;
    let (chunks, queue) = mpsc::channel(1);
    leader.quorum.send(to_learner, snap());
    leader.quorum.send_image(to_learner, queue);
    for _ in 0..3 {
        leader.quorum.send(to_learner, new_leader().to_bytes());
    }
    let mut tree = tree();
    for chunk in image(&mut tree).chunks(100_000) {
        soon(chunks.send(Bytes::copy_from_slice(chunk))).await.unwrap();
    }
    soon(chunks.send(Bytes::new())).await.unwrap();
    assert!(leader.is_silent());
    drop(chunks);
    assert_same(&*learner.image(to_leader).await, &tree);
    learner.new_leaders(to_leader, 3).await;
    assert!(matches!(leader.next().await, (9, QuorumEvent::ImageSent(link)) if link == to_learner));
}

#[tokio::test]
async fn an_image_that_cannot_be_completed_ends_the_link() {
    let mut leader = Server::start(config());
    leader.quorum.listen(9);
    let (mut stream, _, link) = raw_learner(&mut leader).await;
    let (chunks, queue) = mpsc::channel(1);
    leader.quorum.send_image(link, queue);
    leader.quorum.send(link, hello());
    soon(chunks.send(Bytes::from_static(b"part"))).await.unwrap();
    drop(chunks);
    assert_eq!(leader.link_down().await, (9, link));
    assert_eq!(read_to_end(&mut stream).await, b"part");
}
