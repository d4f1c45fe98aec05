use cedar_policy_formatter::{Config, policies_str_to_pretty};

use crate::LoadError;

/// The text as Cedar's formatter lays it out: comments are kept, lines are 110 wide.
///
/// # Errors
///
/// When it cannot be parsed; what is wrong where is what loading says.
pub fn format(file: &str, text: &str) -> Result<String, LoadError> {
    let config = Config { line_width: 110, indent_width: 2 };
    policies_str_to_pretty(text, &config)
        .map_err(|error| LoadError::of_file(file, error.to_string(), "`crewgate check` shows the place"))
}
