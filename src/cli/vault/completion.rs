//! Shell completion: the shell runs this program with the line so far, and gets the words that may follow.

use std::path::Path;

use super::commands::{self, GROUPS};
use super::grammar::{Command, Kind};
use super::help::Role;
use super::surroundings::{Program, Surroundings};

/// The same as a shell wants them: one that breaks words at `=` takes what stands behind it only. `word` is what it thinks is
/// being typed.
pub fn answer(line: &str, word: &str, roles: &[Role]) -> Vec<String> {
    let whole = words(line, roles);
    let behind = |found: String| found.split_once('=').map_or(found.clone(), |(_, value)| value.to_owned());
    let current = line.rsplit(char::is_whitespace).next().unwrap_or_default();
    if current.contains('=') && !word.starts_with('-') { whole.into_iter().map(behind).collect() } else { whole }
}

/// The words that may stand where the cursor is. `line` is what was typed up to there, the program's name included.
pub fn words(line: &str, roles: &[Role]) -> Vec<String> {
    let mut typed: Vec<&str> = line.split_whitespace().collect();
    let current = if line.ends_with(char::is_whitespace) { "" } else { typed.pop().unwrap_or_default() };
    let before = typed.get(1..).unwrap_or_default();
    let mut found = candidates(before, current, roles);
    found.retain(|word| word.starts_with(current));
    found.sort();
    found.dedup();
    found
}

fn candidates(before: &[&str], current: &str, roles: &[Role]) -> Vec<String> {
    if let Some((command, used)) = commands::find(before) {
        return flags(command, &before[used..], current);
    }
    let front = before.iter().map(|word| format!("{word} ")).collect::<String>();
    let names = commands::all().map(|command| command.name).chain(GROUPS.iter().map(|(name, _)| *name));
    let mut found: Vec<String> = names
        .filter_map(|name| name.strip_prefix(&front))
        .filter_map(|rest| rest.split(' ').next())
        .map(str::to_owned)
        .collect();
    match before {
        [] => found.extend(roles.iter().map(|role| role.name.clone())),
        [first, ..] => {
            let role = roles.iter().find(|role| role.name == *first);
            found.extend(role.into_iter().flat_map(|role| role.flags.clone()));
        }
    }
    found
}

/// Flags until the first argument; behind a flag that needs a value, the values that it takes.
fn flags(command: &Command, before: &[&str], current: &str) -> Vec<String> {
    let named = |word: &str| {
        let name = word.trim_start_matches('-').split('=').next().unwrap_or_default().to_owned();
        command.all_flags().find(|flag| flag.is(&name))
    };
    if let Some((front, _)) = current.split_once('=') {
        let choices = named(front).map_or(&[] as &[_], |flag| flag.choices);
        return choices.iter().map(|choice| format!("{front}={choice}")).collect();
    }
    if let Some(flag) =
        before.last().filter(|word| word.starts_with('-') && !word.contains('=')).and_then(|word| named(word))
        && flag.kind != Kind::Switch
    {
        return flag.choices.iter().map(|choice| (*choice).to_owned()).collect();
    }
    let all = command.all_flags().map(|flag| format!("-{}", flag.name));
    all.collect()
}

/// The lines that switch completion on in a shell's start-up file.
///
/// # Errors
/// When the shell is not one of those that there are.
pub fn script(shell: &str, program: &Path, name: &str) -> Result<String, String> {
    let program = program.display();
    match shell {
        "bash" => Ok(format!("complete -C {program} {name}\n")),
        // zsh reads what bash does, once it is told to.
        "zsh" => Ok(format!("autoload -U +X bashcompinit && bashcompinit\ncomplete -o nospace -C {program} {name}\n")),
        _ => Err("completion is offered for bash and zsh".to_owned()),
    }
}

/// Adds what a shell needs to its start-up file, or removes it; for both shells where that file is there.
///
/// # Errors
/// When there is no such file, or it cannot be changed.
pub fn install(on: bool, program: &Program, around: &Surroundings) -> Result<(), String> {
    let home = around.home().ok_or("HOME is not set, so there is no start-up file")?;
    let there: Vec<&str> =
        ["bash", "zsh"].into_iter().filter(|shell| home.join(format!(".{shell}rc")).is_file()).collect();
    if there.is_empty() {
        return Err(
            "neither ~/.bashrc nor ~/.zshrc is there: \"completion bash\" prints what such a file needs".to_owned()
        );
    }
    there.into_iter().try_for_each(|shell| install_for(shell, on, program, around))
}

/// The same for one shell, whose file is made where it is missing.
///
/// # Errors
/// When the file cannot be changed.
pub fn install_for(shell: &str, on: bool, program: &Program, around: &Surroundings) -> Result<(), String> {
    let own = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let script = script(shell, &own, &program.name)?;
    let home = around.home().ok_or("HOME is not set, so there is no start-up file")?;
    let path = home.join(format!(".{shell}rc"));
    let before = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        read => read.map_err(|error| format!("cannot read {}: {error}", path.display()))?,
    };
    let after = installed(&before, &script, on);
    if after == before {
        return Ok(());
    }
    std::fs::write(&path, after).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// A start-up file with the lines of a script added, or with those that are there removed.
fn installed(file: &str, script: &str, on: bool) -> String {
    let lines: Vec<&str> = script.lines().collect();
    let mut kept: Vec<&str> = file.lines().filter(|line| !lines.contains(line)).collect();
    if on {
        kept.extend(lines);
    }
    let text = kept.join("\n");
    if text.is_empty() { text } else { text + "\n" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles() -> Vec<Role> {
        vec![Role { name: "webhook".into(), about: String::new(), flags: vec!["--listen".into()] }]
    }

    #[test]
    fn commands_and_flags_complete() {
        assert_eq!(words("lessor rea", &roles()), ["read"]);
        assert_eq!(words("lessor we", &roles()), ["webhook"]);
        assert_eq!(words("lessor webhook --li", &roles()), ["--listen"]);
        assert_eq!(words("vault kv metadata p", &[]), ["patch", "put"]);
        assert!(words("lessor ", &[]).contains(&"secrets".to_owned()));
        assert_eq!(words("lessor read -fi", &[]), ["-field"]);
        assert_eq!(words("lessor read -format=j", &[]), ["-format=json"]);
        assert_eq!(words("lessor read -format y", &[]), ["yaml", "yml"]);
        assert_eq!(answer("lessor read -format=j", "j", &[]), ["json"], "bash breaks words at =");
        assert_eq!(answer("lessor read -format=j", "-format=j", &[]), ["-format=json"]);
        assert!(words("lessor operator ", &[]).contains(&"init".to_owned()));
    }

    #[test]
    fn scripts_are_added_once_and_removed_again() {
        let script = script("zsh", Path::new("/usr/bin/lessor"), "lessor").unwrap();
        assert_eq!(
            script,
            "autoload -U +X bashcompinit && bashcompinit\ncomplete -o nospace -C /usr/bin/lessor lessor\n"
        );
        let once = installed("alias ll='ls -l'\n", &script, true);
        assert_eq!(installed(&once, &script, true), once);
        assert_eq!(installed(&once, &script, false), "alias ll='ls -l'\n");
        assert!(super::script("fish", Path::new("/x"), "lessor").is_err());
    }
}
