use std::process::ExitCode;

fn main() -> ExitCode {
    seedd::cli::main()
}
