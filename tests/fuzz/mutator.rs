//! Turns well-formed bytes into what an attacker, a bug or a bad disk would make of them.

use zkserver::prng::Prng;

/// A few random changes to one of the seeds. One input in a thousand becomes long: what costs an attacker a
/// frame must not cost the server a multiple.
pub fn mutate(prng: &mut Prng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = pick(prng, seeds).clone();
    for _ in 0..prng.below(6) {
        change(prng, &mut bytes, seeds);
    }
    if prng.below(1000) == 0 {
        repeat_a_part(prng, &mut bytes);
    }
    bytes
}

fn change(prng: &mut Prng, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    let at = below(prng, bytes.len() + 1);
    let end = (at + 1 + below(prng, 16)).min(bytes.len());
    match prng.below(10) {
        0 | 1 => overwrite(bytes, at, &interesting(prng).to_be_bytes()),
        // Lengths and counts mostly lie where four bytes begin.
        2 => overwrite(bytes, at / 4 * 4, &interesting(prng).to_be_bytes()),
        3 => overwrite(bytes, at, &[prng.next_u64() as u8]),
        4 => overwrite(bytes, at, &prng.next_u64().to_be_bytes()),
        5 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << prng.below(8);
            }
        }
        6 => bytes.truncate(at),
        7 => drop(bytes.drain(at.min(end)..end)),
        8 => {
            let part = bytes[at.min(end)..end].to_vec();
            bytes.splice(at..at, part);
        }
        _ => {
            let other = pick(prng, seeds);
            let from = below(prng, other.len() + 1);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
    }
}

/// Up to 256 KiB of one short part, and often a count before it that fits.
fn repeat_a_part(prng: &mut Prng, bytes: &mut Vec<u8>) {
    let at = below(prng, bytes.len() + 1);
    let length = 1 + below(prng, 24);
    let mut part = bytes[at..(at + length).min(bytes.len())].to_vec();
    if part.is_empty() || prng.below(3) == 0 {
        part = vec![0; 4 * (1 + below(prng, 6))];
    }
    let times = below(prng, 256 * 1024) / part.len();
    if prng.below(2) == 0 {
        let count_at = at.saturating_sub(4);
        overwrite(bytes, count_at, &(times as u32).to_be_bytes());
    }
    let at = at.min(bytes.len());
    bytes.splice(at..at, part.repeat(times));
}

fn overwrite(bytes: &mut [u8], at: usize, new: &[u8]) {
    for (old, new) in bytes.iter_mut().skip(at).zip(new) {
        *old = *new;
    }
}

fn interesting(prng: &mut Prng) -> i32 {
    match prng.below(12) {
        0 => -1,
        1 => -2,
        2 => i32::MIN,
        3 => i32::MAX,
        4 => 0,
        5 => 0x10_0000,
        6 => 0x00ff_ffff,
        7 => 14,
        8 => 22,
        _ => prng.below(40) as i32,
    }
}

fn pick<'a>(prng: &mut Prng, seeds: &'a [Vec<u8>]) -> &'a Vec<u8> {
    &seeds[below(prng, seeds.len())]
}

fn below(prng: &mut Prng, bound: usize) -> usize {
    prng.below(bound as u64) as usize
}
