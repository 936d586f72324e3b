// The --help text of a program and of all its subcommands, hidden ones included. Included with #[path].

/// One text, each part under the command line that prints it.
pub fn all(mut command: clap::Command) -> String {
    command = command.term_width(100).disable_help_subcommand(true);
    command.build();
    let mut text = String::new();
    walk(&mut command, &mut text);
    text
}

fn walk(command: &mut clap::Command, text: &mut String) {
    // The value of a variable is not the program's text.
    let mut shown = command.clone().mut_args(|arg| arg.hide_env_values(true));
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let help = shown.render_long_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    text.push_str(&format!("$ {name} --help\n{}\n\n", lines.join("\n").trim_end()));
    for sub in command.get_subcommands_mut() {
        walk(sub, text);
    }
}
