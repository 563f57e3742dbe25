//! Preparing a list of writes: each sees those before it, and the first that fails undoes them all.

use super::{Place, Preparation};
use crate::mutants::{self, Mutant};
use crate::proto::error_code::ErrorCode;
use crate::proto::multi::Operations;
use crate::proto::txn::Txn;

impl Preparation<'_> {
    /// A list with a failed operation is a transaction too, one that changes nothing: the operations
    /// before the failed one stand in it as they were prepared, those behind it as
    /// `RuntimeInconsistency`. Where the reference stumbles over an operation rather than refuse it, the
    /// whole list is refused.
    pub(super) fn prepare_multi<'r>(&mut self, operations: Operations<'r>) -> Result<Txn<'r>, ErrorCode> {
        if operations.are_reads() {
            return Err(ErrorCode::MarshallingError);
        }
        let mut txns = Vec::with_capacity(operations.len());
        let mut has_failed = false;
        for operation in operations.iter() {
            if has_failed {
                txns.push(Txn::Error(ErrorCode::RuntimeInconsistency.code()));
                continue;
            }
            match self.prepare_operation(operation, Place::InMulti) {
                Ok(txn) => txns.push(txn),
                Err(ErrorCode::MarshallingError) => {
                    self.outstanding.rollback();
                    return Err(ErrorCode::MarshallingError);
                }
                Err(error) => {
                    has_failed = true;
                    if !mutants::is_on(Mutant::M15b) {
                        self.outstanding.rollback();
                    }
                    txns.push(Txn::Error(error.code()));
                }
            }
        }
        Ok(Txn::Multi(txns))
    }
}
