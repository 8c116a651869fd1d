//! Named steps, run one after the other until one fails.

use std::{
    env, fmt,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// One thing to do, under a name that a reader of the output understands.
#[derive(Debug)]
pub(crate) struct Step {
    name: String,
    job: Job,
}

#[derive(Debug)]
enum Job {
    Run(Shell),
    Attempt(Shell, String),
    Call(fn(&Path) -> Result<()>),
    Skip(String),
}

impl Step {
    pub(crate) fn run(name: impl Into<String>, shell: Shell) -> Self {
        Self { name: name.into(), job: Job::Run(shell) }
    }

    /// A command without which the rest runs too; `reason` says what it needs, and the last line of the output repeats
    /// it where the command fails.
    pub(crate) fn attempt(name: impl Into<String>, shell: Shell, reason: impl Into<String>) -> Self {
        Self { name: name.into(), job: Job::Attempt(shell, reason.into()) }
    }

    /// A check that is code of this crate; it gets the root of the workspace.
    pub(crate) fn call(name: impl Into<String>, check: fn(&Path) -> Result<()>) -> Self {
        Self { name: name.into(), job: Job::Call(check) }
    }

    /// Something that cannot run here; the last line of the output repeats it.
    pub(crate) fn skip(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { name: name.into(), job: Job::Skip(reason.into()) }
    }
}

/// Runs `steps` in order, saying what runs and how long it took.
///
/// # Errors
/// Of the first step that fails, with the command that repeats it.
pub(crate) fn run_all(task: &str, root: &Path, steps: Vec<Step>) -> Result<()> {
    let began = Instant::now();
    let total = steps.len();
    let mut skipped = Vec::new();
    for (index, step) in steps.into_iter().enumerate() {
        println!("==> [{}/{total}] {}", index + 1, step.name);
        let step_began = Instant::now();
        let (outcome, repeat) = match step.job {
            Job::Skip(reason) => {
                println!("    SKIPPED: {reason}");
                skipped.push(format!("{} ({reason})", step.name));
                continue;
            }
            Job::Attempt(shell, reason) => match shell.run(root) {
                Err(error) => {
                    println!("    SKIPPED: {reason} ({error:#})");
                    skipped.push(format!("{} ({reason})", step.name));
                    continue;
                }
                Ok(()) => (Ok(()), String::new()),
            },
            Job::Run(shell) => (shell.run(root), shell.to_string()),
            Job::Call(check) => (check(root), format!("cargo xtask {task}")),
        };
        let took = Seconds(step_began.elapsed());
        if let Err(error) = outcome {
            bail!(
                "FAILED after {took}: {}\n{error:#}\n\nRepeat it, in the root of the workspace, with:\n    {repeat}",
                step.name
            );
        }
        println!("    ok, {took}");
    }
    let took = Seconds(began.elapsed());
    println!(
        "\n{task} passed in {took}: {} of {total} steps done, {} skipped",
        total - skipped.len(),
        skipped.len()
    );
    for step in skipped {
        println!("    skipped: {step}");
    }
    Ok(())
}

/// A command with its environment, printable so that it can be pasted into a shell.
#[derive(Debug, Clone)]
pub(crate) struct Shell {
    program: String,
    args: Vec<String>,
    env: Vec<(&'static str, String)>,
}

impl Shell {
    pub(crate) fn new<A: Into<String>>(program: &str, args: impl IntoIterator<Item = A>) -> Self {
        Self { program: program.into(), args: args.into_iter().map(Into::into).collect(), env: Vec::new() }
    }

    pub(crate) fn cargo<A: Into<String>>(args: impl IntoIterator<Item = A>) -> Self {
        Self::new("cargo", args)
    }

    pub(crate) fn args<A: Into<String>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    pub(crate) fn env(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.env.push((name, value.into()));
        self
    }

    /// Whether the command can be started and succeeds; its output is thrown away.
    pub(crate) fn succeeds(&self) -> bool {
        let status = self.command().stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }

    /// What the command prints on its standard output.
    pub(crate) fn output(&self, root: &Path) -> Result<String> {
        let output = self.command().current_dir(root).stderr(Stdio::inherit()).output();
        let output = output.with_context(|| format!("cannot start `{self}`"))?;
        if !output.status.success() {
            bail!("`{self}` failed: {}", output.status);
        }
        String::from_utf8(output.stdout).with_context(|| format!("`{self}` does not print UTF-8"))
    }

    /// Runs the command, with its output.
    pub(crate) fn run(&self, root: &Path) -> Result<()> {
        let status = self.command().current_dir(root).status();
        let status = status.with_context(|| format!("cannot start `{}`", self.program))?;
        if !status.success() {
            bail!("{status}");
        }
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        // What cargo says of this package to what it runs. Build scripts of dependencies (ring's) run again where it
        // changes, so that half of the workspace would be built anew after each plain `cargo test`, and back.
        let of_this_package =
            |name: &str| ["CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|begin| name.starts_with(begin));
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_str().is_some_and(of_this_package)) {
            command.env_remove(name);
        }
        command
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }
}

impl fmt::Display for Shell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.env {
            write!(f, "{name}={} ", quoted(value))?;
        }
        f.write_str(&self.program)?;
        self.args.iter().try_for_each(|arg| write!(f, " {}", quoted(arg)))
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:+,@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        if seconds < 60.0 {
            return write!(f, "{seconds:.1} s");
        }
        write!(f, "{} min {} s", self.0.as_secs() / 60, self.0.as_secs() % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_prints_as_a_shell_takes_it() {
        let shell = Shell::cargo(["doc", "it's"]).env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(shell.to_string(), r"RUSTDOCFLAGS='-D warnings' cargo doc 'it'\''s'");
    }

    #[test]
    fn the_first_failure_ends_the_run_and_names_the_command() {
        let fail = Step::run("a step", Shell::new("false", ["x y"]));
        let never = Step::call("never", |_| panic!("ran after a failure"));
        let error = run_all("check", Path::new("."), vec![fail, never]).unwrap_err();
        assert!(
            format!("{error:#}").contains("a step") && format!("{error:#}").contains("false 'x y'"),
            "{error:#}"
        );
    }

    #[test]
    fn skipped_steps_do_not_fail() {
        let skip = Step::skip("fuzz smoke", "no nightly");
        let attempt = Step::attempt("a tool", Shell::new("false", ["x"]), "no network");
        run_all("check", Path::new("."), vec![skip, attempt]).unwrap();
    }
}
