//! Keeps passwords off the screen and out of the log.

/// What stands in the place of a secret.
pub(crate) const HIDDEN: &str = "***";

/// Parameters of a database's URL that are secrets.
const SECRET_PARAMETERS: [&str; 3] = ["password", "sslpassword", "pgpassword"];

/// A URL without its password. Where it cannot be told what is the password, more is hidden rather than less.
pub(crate) fn redact(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end_of_authority = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let rest = match (rest[..end_of_authority].rfind('@'), rest.rfind('@')) {
        (Some(at), _) => format!("{}{}", redact_user(&rest[..at]), redact_parameters(&rest[at..])),
        // A password with an unescaped slash: what looks like the address holds the beginning of it.
        (None, Some(at)) => format!("{HIDDEN}{}", redact_parameters(&rest[at..])),
        (None, None) => redact_parameters(rest),
    };
    format!("{scheme}://{rest}")
}

fn redact_user(user: &str) -> String {
    match user.split_once(':') {
        Some((name, _)) => format!("{name}:{HIDDEN}"),
        None => user.to_owned(),
    }
}

fn redact_parameters(rest: &str) -> String {
    let Some((path, query)) = rest.split_once('?') else { return rest.to_owned() };
    let parameters = query.split('&').map(|parameter| match parameter.split_once('=') {
        Some((name, _)) if SECRET_PARAMETERS.contains(&name.to_ascii_lowercase().as_str()) => {
            format!("{name}={HIDDEN}")
        }
        _ => parameter.to_owned(),
    });
    format!("{path}?{}", parameters.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_hidden_and_the_rest_is_not() {
        let cases = [
            ("postgres://amends:s3cret@db:5432/amends", "postgres://amends:***@db:5432/amends"),
            ("postgres://amends@db/amends", "postgres://amends@db/amends"),
            ("postgres://amends:p:q@db/amends?sslmode=require", "postgres://amends:***@db/amends?sslmode=require"),
            ("postgres://db/amends?user=a&password=s3cret", "postgres://db/amends?user=a&password=***"),
            ("postgres://amends:s3/cret@db/amends", "postgres://***@db/amends"),
            ("postgres://amends:s3cret@db", "postgres://amends:***@db"),
            ("./amends.db", "./amends.db"),
            ("sqlite:amends.db", "sqlite:amends.db"),
        ];
        for (url, shown) in cases {
            assert_eq!(redact(url), shown, "{url}");
        }
    }
}
