//! Rules that a MongoDB has for commands and the tests' server may not: a command that breaks one
//! fails the test that sent it.

use mongodb::bson::Document as Fields;
use mongodb::event::command::CommandEvent;

/// Looks at each command that is sent.
pub(crate) fn check(event: CommandEvent) {
    let CommandEvent::Started(started) = event else {
        return;
    };
    let command = &started.command;
    if let Ok(update) = command.get_document("update") {
        check_update(update);
        assert!(
            command
                .get_document("query")
                .is_ok_and(|query| query.contains_key("_id")),
            "a write of one document does not name it: {command}"
        );
    }
    for update in command.get_array("updates").into_iter().flatten() {
        let update = update
            .as_document()
            .and_then(|update| update.get_document("u").ok());
        check_update(update.expect("an update has its operators"));
    }
}

fn check_update(update: &Fields) {
    let mut paths = Vec::new();
    for (operator, changes) in update {
        assert!(
            operator.starts_with('$'),
            "no whole document is replaced: {update}"
        );
        let changes = changes.as_document().expect("an operator takes a document");
        assert!(
            !changes.is_empty(),
            "{operator} has nothing to do: {update}"
        );
        paths.extend(changes.keys().map(String::as_str));
    }
    for (place, path) in paths.iter().enumerate() {
        let odd = |part: &str| part.is_empty() || part.starts_with('$');
        assert!(!path.split('.').any(odd), "an odd path {path}");
        assert_ne!(*path, "_id", "an id never changes");
        for other in &paths[place + 1..] {
            let conflict = path == other
                || other
                    .strip_prefix(path)
                    .is_some_and(|rest| rest.starts_with('.'))
                || path
                    .strip_prefix(other)
                    .is_some_and(|rest| rest.starts_with('.'));
            assert!(!conflict, "{path} and {other} are written by one update");
        }
    }
}
