//! Prints a transaction log.

use std::io::Write;
use std::path::PathBuf;

/// Arguments of the subcommand.
#[derive(Debug, clap::Args)]
pub struct DumpLogArgs {
    /// The transaction log.
    pub file: PathBuf,
    /// One JSON object per line.
    #[arg(long)]
    pub json: bool,
}

/// Prints the file.
pub fn run(args: &DumpLogArgs, _out: &mut dyn Write) -> anyhow::Result<()> {
    anyhow::bail!("{}: printing is not there yet", args.file.display())
}
