//! Flipped bits and cut off files, at random and at every place.

use std::fs;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::fixture::{Story, files, read};

fn is_long() -> bool {
    std::env::var_os("FANFARE_LONG").is_some()
}

#[tokio::test]
async fn a_flipped_bit_never_gives_a_wrong_payload_and_costs_only_what_is_told() {
    let seed = std::env::var("FANFARE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    eprintln!("repeat this run with FANFARE_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let story = Story::new(if is_long() { 600 } else { 120 }).await;
    let rounds = if is_long() { 1_000 } else { 24 };
    let mut damaged = 0;
    for round in 0..rounds {
        let folder = story.copy();
        let files = files(folder.path());
        // Half of them where most bytes are, half of them in any file.
        let sizes: Vec<u64> = files.iter().map(|file| fs::metadata(file).unwrap().len()).collect();
        let mut at = rng.random_range(0..sizes.iter().sum::<u64>());
        let of_bytes = sizes
            .iter()
            .position(|size| {
                if at < *size {
                    true
                } else {
                    at -= size;
                    false
                }
            })
            .unwrap();
        let file = &files[if round % 2 == 0 { of_bytes } else { rng.random_range(0..files.len()) }];
        let mut bytes = fs::read(file).unwrap();
        let bit = rng.random_range(0..bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(file, bytes).unwrap();
        let what = format!("bit {bit} of {}", file.display());
        let told = read(folder.path()).await;
        damaged += u32::from(!told.gaps.is_empty());
        story.check(&told, &what);
    }
    eprintln!("{rounds} flips: all were opened, {damaged} told gaps");
}

#[tokio::test]
async fn a_file_cut_off_anywhere_costs_only_what_is_told() {
    let story = Story::new(if is_long() { 600 } else { 120 }).await;
    let mut newest = files(story.folder.path());
    newest.sort_by_key(|file| std::cmp::Reverse(fs::metadata(file).unwrap().modified().unwrap()));
    newest.retain(|file| {
        let name = file.strip_prefix(story.folder.path()).unwrap().to_string_lossy().into_owned();
        file.extension().is_some_and(|ending| ending == "jnl")
            || (name.contains("/tables/") && !name.starts_with("keyspaces/0/"))
    });
    let (mut rounds, mut damaged) = (0, 0);
    for file in newest.iter().take(if is_long() { 4 } else { 2 }) {
        let copy = story.copy();
        let copied = copy.path().join(file.strip_prefix(story.folder.path()).unwrap());
        let size = fs::metadata(copied).unwrap().len();
        // A start costs some hundred milliseconds here, so not every place; `mend` tries each for itself.
        let steps = if is_long() { 300 } else { 12 };
        let step = size.min(64 * 1024).div_ceil(steps).max(1) | 1;
        for cut in (1..=size.min(64 * 1024)).step_by(usize::try_from(step).unwrap()) {
            let folder = story.copy();
            let file = folder.path().join(file.strip_prefix(story.folder.path()).unwrap());
            fs::File::options().write(true).open(&file).unwrap().set_len(size - cut).unwrap();
            rounds += 1;
            let told = read(folder.path()).await;
            damaged += u32::from(!told.gaps.is_empty());
            story.check(&told, &format!("{cut} bytes off the end of {}", file.display()));
        }
    }
    eprintln!("{rounds} cuts: all were opened, {damaged} told gaps");
}
