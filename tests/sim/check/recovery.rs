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
    assert!(
        disk::describe(&shown) == disk::describe(&tree),
        "I19: a server shows {:#?}, not {:#?}",
        disk::describe(&shown),
        disk::describe(&tree)
    );
    tree
}
