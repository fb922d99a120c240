//! The rules of the house, as checks. Each says where it is broken and what the rule is for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Our crates by name, and which of ours each may depend on. Development dependencies count too.
const ARROWS: [(&str, &[&str]); 10] = [
    ("amends-benches", &["xtask"]),
    ("amends-core", &[]),
    ("amends-proto", &[]),
    ("amends-sdk", &["amends-core", "amends-proto"]),
    ("amends-participants", &["amends-sdk"]),
    ("amends-sagas", &["amends-core", "amends-proto"]),
    ("amends-engine", &["amends-core", "amends-proto"]),
    ("amends", &["amends-core", "amends-engine", "amends-participants", "amends-proto", "amends-sagas", "amends-sdk"]),
    ("amends-tests", &["xtask"]),
    ("xtask", &[]),
];

/// All that the core may depend on: no runtime, no database, no clock, no randomness.
const CORE_CRATES: [&str; 6] = ["humantime", "serde", "serde_json", "thiserror", "toml", "uuid"];

/// What the core's sources must not name.
const IMPURE: [&str; 8] =
    ["SystemTime::now", "Instant::now", "std::fs", "std::net", "std::thread", "std::env", "new_v4", "now_v7"];

/// Where SQL may stand.
const SQL_PLACES: [&str; 4] = ["engine/src/store/", "participants/", "tests/", "xtask/src/"];

/// What gives SQL away; a keyword alone would catch prose.
const SQL: [&str; 5] = ["\"SELECT ", "\"INSERT ", "\"UPDATE ", "\"DELETE ", "\"CREATE TABLE"];

/// Longest source file, in lines: a longer one holds two things.
const LINES_MAX: usize = 400;

/// Runs every check and reports all that is wrong at once.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let mut wrong = Vec::new();
    let manifests = find(root, "Cargo.toml");
    let sources: Vec<_> = find(root, ".rs");
    if manifests.len() < ARROWS.len() || sources.is_empty() {
        return Err(format!("tidy: {} holds no workspace of ours", root.display()));
    }
    for manifest in &manifests {
        wrong.extend(arrows(root, manifest));
    }
    for source in &sources {
        wrong.extend(check_source(root, source));
    }
    for side in ["engine", "participants"] {
        wrong.extend(mirrored(&root.join("migrations").join(side)));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!("tidy: {} broken rules\n  {}", wrong.len(), wrong.join("\n  ")))
}

fn arrows(root: &Path, manifest: &Path) -> Vec<String> {
    let place = relative(root, manifest);
    let Some(table) = fs::read_to_string(manifest).ok().and_then(|text| text.parse::<toml::Table>().ok()) else {
        return vec![format!("{place}: cannot be read")];
    };
    let Some(name) = table.get("package").and_then(|package| package.get("name")).and_then(toml::Value::as_str) else {
        return Vec::new();
    };
    let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == name) else {
        return vec![format!("{place}: {name} has no place in the picture; add it to tidy and to ARCHITECTURE.md")];
    };
    let ours: BTreeSet<&str> = ARROWS.iter().map(|(known, _)| *known).collect();
    let mut wrong = Vec::new();
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let Some(dependencies) = table.get(section).and_then(toml::Value::as_table) else { continue };
        for dependency in dependencies.keys().map(String::as_str) {
            if ours.contains(dependency) && !allowed.contains(&dependency) {
                wrong.push(format!(
                    "{place}: {name} -> {dependency} is against the arrows; dependencies point down only"
                ));
            }
            if name == "amends-core" && section == "dependencies" && !CORE_CRATES.contains(&dependency) {
                wrong.push(format!("{place}: the core stays pure; {dependency} is not on its list"));
            }
        }
    }
    wrong
}

fn check_source(root: &Path, source: &Path) -> Vec<String> {
    let place = relative(root, source);
    let Ok(text) = fs::read_to_string(source) else { return vec![format!("{place}: cannot be read")] };
    let mut wrong = Vec::new();
    let lines = text.lines().count();
    if lines > LINES_MAX {
        wrong.push(format!("{place}: {lines} lines; over {LINES_MAX} it holds two things, find the seam"));
    }
    let mut flag = |number: usize, rule: String| wrong.push(format!("{place}:{}: {rule}", number + 1));
    for (number, line) in text.lines().enumerate() {
        let code = line.trim_start();
        if code.starts_with("//") {
            continue;
        }
        if !SQL_PLACES.iter().any(|allowed| place.starts_with(allowed)) && SQL.iter().any(|sql| code.contains(sql)) {
            flag(number, "SQL stands in stores only".to_owned());
        }
        if place.starts_with("engine/core/src/") {
            for name in IMPURE.iter().filter(|name| code.contains(**name)) {
                flag(number, format!("the core stays pure; {name} is an argument, not a call"));
            }
        }
    }
    wrong
}

/// Both databases have the same migrations under the same numbers and names.
fn mirrored(folder: &Path) -> Vec<String> {
    let names = |side: &str| -> BTreeMap<String, PathBuf> {
        find(&folder.join(side), ".sql").into_iter().map(|path| (file_name(&path), path)).collect()
    };
    let (sqlite, postgres) = (names("sqlite"), names("postgres"));
    let all: BTreeSet<_> = sqlite.keys().chain(postgres.keys()).collect();
    if all.is_empty() {
        return vec![format!("{}: holds no migrations", folder.display())];
    }
    let one_sided = |name: &&&String| !(sqlite.contains_key(**name) && postgres.contains_key(**name));
    let folder = file_name(folder);
    all.iter().filter(one_sided).map(|name| format!("migrations/{folder}: {name} is on one side only")).collect()
}

/// Files below a folder whose names end so; build output and hidden folders are left out.
fn find(folder: &Path, end: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        let name = file_name(&path);
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" {
                found.extend(find(&path, end));
            }
        } else if name.ends_with(end) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree with one broken rule in each of its files.
    fn broken() -> PathBuf {
        let root = std::env::temp_dir().join(format!("amends-tidy-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("engine/core/Cargo.toml", "[package]\nname = \"amends-core\"\n[dependencies]\ntokio = \"1\"\n");
        write("sagas/Cargo.toml", "[package]\nname = \"amends-sagas\"\n[dependencies]\namends-engine = \"1\"\n");
        write("engine/core/src/a.rs", "fn f() { SystemTime::now(); }\n// SystemTime::now() in prose is fine\n");
        write("cli/src/b.rs", "const Q: &str = \"SELECT 1\";\n");
        write("cli/src/c.rs", &"\n".repeat(LINES_MAX + 1));
        write("migrations/engine/sqlite/0001_a.sql", "");
        root
    }

    #[test]
    fn every_rule_finds_what_breaks_it() {
        let root = broken();
        let mut wrong = Vec::new();
        for manifest in find(&root, "Cargo.toml") {
            wrong.extend(arrows(&root, &manifest));
        }
        for source in find(&root, ".rs") {
            wrong.extend(check_source(&root, &source));
        }
        wrong.extend(mirrored(&root.join("migrations/engine")));
        fs::remove_dir_all(&root).unwrap();
        let expected = ["tokio", "against the arrows", "SystemTime::now", "SQL stands", "holds two things", "one side"];
        for rule in expected {
            assert_eq!(wrong.iter().filter(|found| found.contains(rule)).count(), 1, "{rule}: {wrong:#?}");
        }
        assert_eq!(wrong.len(), expected.len(), "{wrong:#?}");
    }
}
