//! The log without its disk: records of a batch framed, summed and handed over in one write.
//!
//!     cargo bench --bench log_append [-- FILTER]

mod support;

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use support::no_disk::NoDisk;
use support::server::storage_config;
use support::{child, create_txn, header};
use zkserver::ids::Zxid;
use zkserver::proto::txn;
use zkserver::storage::log_writer::LogWriter;
use zkserver::storage::record::encode_record;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("log");
    for bytes in [100, 1024] {
        let record = create(bytes);
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("frame a create of {bytes} bytes"), |bencher| {
            let mut out = Vec::with_capacity(4096);
            bencher.iter(|| {
                out.clear();
                encode_record(black_box(&record), &mut out);
                black_box(&out);
            });
        });
        for batch in [1, 16, 256] {
            let mut log = LogWriter::new(NoDisk, &storage_config());
            let mut zxid = Zxid::ZERO;
            group.throughput(Throughput::Elements(batch));
            group.bench_function(
                format!("append {batch} creates of {bytes} bytes, sync"),
                |bencher| {
                    bencher.iter(|| {
                        for _ in 0..batch {
                            zxid = zxid.next();
                            log.append(zxid, black_box(&record));
                        }
                        log.sync().expect("a disk that never fails");
                    });
                },
            );
        }
    }
    group.finish();
    criterion.final_summary();
}

fn create(bytes: usize) -> Vec<u8> {
    let (path, data) = (child("/zkload", 123), "x".repeat(bytes));
    let txn = create_txn(&path, &data);
    let mut encoded = Vec::new();
    txn::encode(&header(Zxid(1), &txn), &txn, None, &mut encoded);
    encoded
}
