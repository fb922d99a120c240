//! The Dockerfile, as far as ours uses the format.

use std::path::Path;

/// Instructions, each with its stage.
#[derive(Debug)]
pub(super) struct Dockerfile {
    instructions: Vec<Instruction>,
    /// Their names; the last one need not have one.
    stages: Vec<String>,
}

#[derive(Debug)]
struct Instruction {
    stage: usize,
    word: String,
    rest: String,
}

impl Dockerfile {
    pub(super) fn parse(text: &str) -> Self {
        let mut file = Self { instructions: Vec::new(), stages: Vec::new() };
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        while let Some(line) = lines.next() {
            let mut line = line.to_owned();
            if line.starts_with('#') {
                continue;
            }
            while let Some(begun) = line.strip_suffix('\\') {
                line = format!("{begun}{}", lines.next().unwrap_or_default().trim_start());
            }
            let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
            if rest.contains("<<'EOF'") {
                lines.by_ref().find(|line| *line == "EOF");
            }
            if word == "FROM" {
                file.stages.push(rest.split_once(" AS ").map(|(_, name)| name.to_owned()).unwrap_or_default());
            }
            let stage = file.stages.len().saturating_sub(1);
            file.instructions.push(Instruction { stage, word: word.to_owned(), rest: rest.to_owned() });
        }
        file
    }

    /// What an instruction says in the stage that runs.
    fn last<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a str> {
        let last = self.stages.len().saturating_sub(1);
        let found = self.instructions.iter().filter(move |one| one.stage == last && one.word == word);
        found.map(|instruction| instruction.rest.as_str())
    }

    /// The ports that the image says it listens on.
    pub(super) fn exposed(&self) -> Vec<u16> {
        self.last("EXPOSE").flat_map(str::split_whitespace).filter_map(|port| port.parse().ok()).collect()
    }
}

/// Everything that is wrong with it.
pub(super) fn check(file: &Dockerfile, root: &Path) -> Vec<String> {
    let mut wrong = Vec::new();
    for Instruction { stage, word, rest } in &file.instructions {
        match word.as_str() {
            "COPY" => wrong.extend(copied(file, *stage, rest, root)),
            "FROM" => {
                let image = rest.split(' ').next().unwrap_or_default();
                if !image.contains(':') && !file.stages.iter().any(|stage| stage == image) {
                    wrong.push(format!("Dockerfile: the image {image} has no tag"));
                }
            }
            _ => {}
        }
    }
    match file.last("USER").last() {
        None | Some("root" | "0") => wrong.push("Dockerfile: what is built runs as root".to_owned()),
        Some(user) if !file.last("RUN").any(|run| run.contains("useradd") && run.ends_with(&format!(" {user}"))) => {
            wrong.push(format!("Dockerfile: nobody makes the user {user}"));
        }
        Some(_) => {}
    }
    if file.last("ENTRYPOINT").next() != Some(r#"["amends"]"#) {
        wrong.push("Dockerfile: the entry point is not amends".to_owned());
    }
    wrong
}

fn copied(file: &Dockerfile, stage: usize, rest: &str, root: &Path) -> Vec<String> {
    if rest.contains("<<") {
        return Vec::new();
    }
    let words: Vec<&str> = rest.split_whitespace().collect();
    let from = words.iter().find_map(|word| word.strip_prefix("--from="));
    let paths: Vec<&str> = words.into_iter().filter(|word| !word.starts_with("--")).collect();
    let sources = paths.split_last().map_or(&[][..], |(_, sources)| sources);
    let wrong = |source: &&str| match from {
        None => (!root.join(source).exists()).then(|| format!("Dockerfile: COPY {source}: there is no such file")),
        Some(from) if !file.stages[..stage].iter().any(|stage| stage == from) => {
            Some(format!("Dockerfile: COPY {source}: there is no stage {from} before"))
        }
        Some(_) => {
            let built = source.contains("/target/") && !source.ends_with("target/release/amends");
            built.then(|| format!("Dockerfile: {} is not what cargo builds", source.trim_start_matches("/src/")))
        }
    };
    sources.iter().filter_map(wrong).collect()
}
