//! What is written: text for people, JSON for programs, progress on a terminal.

use std::{
    fmt::{self, Write as _},
    io::{self, IsTerminal, Write, stderr, stdout},
    time::{Duration, SystemTime},
};

use clap::{
    ColorChoice,
    builder::styling::{AnsiColor, Style},
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

/// Where a command writes, and in which form.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    json: bool,
    coloured: bool,
    coloured_errors: bool,
}

impl Output {
    pub(crate) fn new(json: bool, color: ColorChoice) -> Self {
        Self {
            json,
            coloured: !json && coloured(color, stdout().is_terminal()),
            coloured_errors: !json && coloured(color, stderr().is_terminal()),
        }
    }

    /// Whether stdout is for programs.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Writes a line of text, where stdout is for people.
    ///
    /// # Errors
    /// Of stdout, a pipe that nobody reads included: the command ends with it, and nothing is told.
    pub(crate) fn text(&self, line: impl fmt::Display) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        write_line(format_args!("{line}"))
    }

    /// Writes text of several lines, where stdout is for people; in place of the earlier one, where that is a
    /// terminal and `again`.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub(crate) fn screen(&self, text: impl fmt::Display, again: bool) -> io::Result<()> {
        let clear = if again && !self.json && stdout().is_terminal() { "\x1b[2J\x1b[H" } else { "" };
        self.text(format_args!("{clear}{text}"))
    }

    /// Writes `value` as a line of JSON, where stdout is for programs.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub(crate) fn json(&self, value: &impl Serialize) -> io::Result<()> {
        if !self.json {
            return Ok(());
        }
        write_line(format_args!("{}", serde_json::to_string(value)?))
    }

    /// `text` in a style, where stdout shows colours.
    pub(crate) fn paint(&self, style: Paint, text: impl fmt::Display) -> String {
        if self.coloured { styled(style, text) } else { text.to_string() }
    }

    /// `text` in a style, where stderr shows colours.
    pub(crate) fn paint_error(&self, style: Paint, text: impl fmt::Display) -> String {
        if self.coloured_errors { styled(style, text) } else { text.to_string() }
    }

    /// Tells a failure on stderr, `as_json` where stdout is for programs too.
    pub(crate) fn error(&self, as_json: &impl Serialize, text: &str) {
        let line = match serde_json::to_string(as_json) {
            Ok(line) if self.json => line,
            _ if self.coloured_errors => format!("{} {}", styled(Paint::Problem, "error:"), Shown(text)),
            _ => format!("error: {}", Shown(text)),
        };
        // There is nowhere left to tell that stderr is closed.
        let _ = writeln!(stderr(), "{line}");
    }

    /// Tells something on stderr for people, who read stdout or not.
    pub(crate) fn note(&self, text: impl fmt::Display) {
        if !self.json {
            let _ = writeln!(stderr(), "{text}");
        }
    }

    /// Shows on stderr that something takes long, where that is a terminal; it disappears when dropped.
    pub(crate) fn progress(&self, what: impl Into<String>, steps: Option<u64>) -> Progress {
        let target =
            if stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let template = if steps.is_some() {
            "{spinner} {msg} {wide_bar} {pos}/{len}"
        } else {
            "{spinner} {msg} {elapsed}"
        };
        let bar = ProgressBar::with_draw_target(steps, target).with_message(what.into());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Progress(bar)
    }
}

/// A progress bar that leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Progress(pub(crate) ProgressBar);

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// What a piece of text means.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Paint {
    Good,
    Warning,
    Problem,
    Strong,
    Faint,
}

/// Text of somebody else, such as a store or another node, without what a terminal would obey.
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            match char {
                '\t' => f.write_char(char)?,
                _ if char.is_control() => write!(f, "{}", char.escape_default())?,
                _ => f.write_char(char)?,
            }
        }
        Ok(())
    }
}

/// Whether to use colours on something that is a terminal or not.
pub(crate) fn coloured(choice: ColorChoice, is_terminal: bool) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    }
}

/// A time as `2026-02-03T04:05:06.789Z`; what is beyond the year 9999, as nonsense of another process may be, is its
/// end.
pub(crate) fn timestamp(time: SystemTime) -> String {
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().min(LAST);
    humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + since).to_string()
}

fn styled(paint: Paint, text: impl fmt::Display) -> String {
    let style = match paint {
        Paint::Good => AnsiColor::Green.on_default(),
        Paint::Warning => AnsiColor::Yellow.on_default(),
        Paint::Problem => AnsiColor::Red.on_default().bold(),
        Paint::Strong => Style::new().bold(),
        Paint::Faint => Style::new().dimmed(),
    };
    format!("{style}{text}{style:#}")
}

fn write_line(line: fmt::Arguments<'_>) -> io::Result<()> {
    let mut stdout = stdout().lock();
    stdout.write_fmt(line)?;
    stdout.write_all(b"\n")?;
    // Whoever reads a pipe waits for the line.
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_steers_no_terminal() {
        assert_eq!(Shown("a\u{1b}[2J\tb\r\n\u{9b}é").to_string(), "a\\u{1b}[2J\tb\\r\\n\\u{9b}é");
    }

    #[test]
    fn no_time_is_too_late_to_be_written() {
        assert_eq!(
            timestamp(SystemTime::UNIX_EPOCH + Duration::from_millis(1_500)),
            "1970-01-01T00:00:01.500Z"
        );
        let far = SystemTime::UNIX_EPOCH + Duration::from_micros(i64::MAX.unsigned_abs());
        assert_eq!(timestamp(far), "9999-12-31T23:59:59.000Z");
        assert_eq!(timestamp(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00.000Z");
    }
}
