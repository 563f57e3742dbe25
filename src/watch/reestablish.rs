//! setWatches and setWatches2: a client that comes back tells what it watched, and hears at once of what it
//! missed (DataTree.setWatches).

use crate::ids::{ConnId, Zxid};
use crate::mutants::{self, Mutant};
use crate::proto::error_code::ErrorCode;
use crate::proto::event::EventType;
use crate::proto::jute::Strings;
use crate::proto::request::SetWatchesRequest;
use crate::tree::DataTree;
use crate::watch::{NULL_PATH, WatchManager, WatchMode};

/// Sets the watches again on nodes that are as the client last saw them, and emits one event for each of the
/// others, list by list in the order sent. Persistent watches are set without events. No ACL is asked. A null
/// list, or a null path that would have to be looked up, is a `MarshallingError` that takes nothing back.
pub fn set_watches(
    tree: &DataTree,
    watches: &WatchManager,
    conn: ConnId,
    request: &SetWatchesRequest<'_>,
    emit: &mut dyn FnMut(EventType, &str),
) -> Result<(), ErrorCode> {
    let seen = match mutants::is_on(Mutant::M13b) {
        true => Zxid(i64::MAX),
        false => request.relative_zxid,
    };
    for path in present(&request.data)?.iter_nullable() {
        let path = path.ok_or(ErrorCode::MarshallingError)?;
        match tree.lookup(&path) {
            None => emit(EventType::NodeDeleted, &path),
            Some(node) if node.persisted().mzxid > seen => {
                emit(EventType::NodeDataChanged, &path);
            }
            Some(_) => watches.add(WatchMode::Data, &path, conn),
        }
    }
    for path in present(&request.exist)?.iter_nullable() {
        let path = path.ok_or(ErrorCode::MarshallingError)?;
        match tree.lookup(&path) {
            None => watches.add(WatchMode::Data, &path, conn),
            Some(_) => emit(EventType::NodeCreated, &path),
        }
    }
    for path in present(&request.child)?.iter_nullable() {
        let path = path.ok_or(ErrorCode::MarshallingError)?;
        match tree.lookup(&path) {
            None => emit(EventType::NodeDeleted, &path),
            Some(node) if node.persisted().pzxid > seen => {
                emit(EventType::NodeChildrenChanged, &path);
            }
            Some(_) => watches.add(WatchMode::Child, &path, conn),
        }
    }
    for (mode, list) in [
        (WatchMode::Persistent, &request.persistent),
        (WatchMode::PersistentRecursive, &request.persistent_recursive),
    ] {
        for path in present(list)?.iter_nullable() {
            watches.add(mode, path.as_deref().unwrap_or(NULL_PATH), conn);
        }
    }
    Ok(())
}

fn present<'a, 'b>(list: &'b Option<Strings<'a>>) -> Result<&'b Strings<'a>, ErrorCode> {
    list.as_ref().ok_or(ErrorCode::MarshallingError)
}

#[cfg(test)]
mod tests;
