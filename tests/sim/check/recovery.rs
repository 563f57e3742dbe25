//! I18 and I19: the servers show what applying the whole history to an empty tree leads to.

use zkserver::tree::DataTree;

use crate::world::disk;
use crate::world::ensemble::Ensemble;

pub fn check(world: &Ensemble) -> DataTree {
    let mut tree = disk::load(&disk::image(&mut DataTree::new(1)), world.history.base);
    for entry in &world.history.entries {
        disk::replay(&mut tree, entry);
    }
    let shown = world.nodes[0].up().shared.tree.read();
    let (shown, expected) = (disk::describe(&shown), disk::describe(&tree));
    let differs = |(shown, expected): &(&String, &String)| shown != expected;
    if let Some((shown, expected)) = shown.iter().zip(&expected).find(differs) {
        panic!("I19: a server shows {shown}, not {expected}");
    }
    assert_eq!(shown.len(), expected.len(), "I19: a server shows more, or less");
    tree
}
