//! Error messages of GStreamer in words.

use crate::secret;

/// What the error says, with the detail of its debug text, without credentials.
pub fn error_words(error: &gst::message::Error) -> String {
    let mut words = error.error().message().trim_end_matches('.').to_owned();
    if let Some(detail) = error.debug().as_deref().and_then(detail)
        && !words.contains(detail)
    {
        words.push_str(": ");
        words.push_str(detail);
    }
    secret::hide(&words)
}

/// The cause in a debug text; `file(line): function (): /object/path:` comes before it.
fn detail(debug: &str) -> Option<&str> {
    let text = debug.split_once('\n').map_or("", |(_, text)| text).trim();
    let text = text.lines().next().unwrap_or("").trim_end_matches('.');
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_detail_is_said_once_and_without_a_password() {
        let words = |text: &str, debug: &str| {
            gst::init().unwrap();
            let message = gst::message::Error::builder(gst::CoreError::Failed, text)
                .debug(debug)
                .build();
            match message.view() {
                gst::MessageView::Error(error) => error_words(error),
                _ => unreachable!(),
            }
        };
        let debug = "a.c(1): f (): /A:a:\nno route to rtsp://u:geheim@h/1.\nmore";
        assert_eq!(
            words("Failed.", debug),
            "Failed: no route to rtsp://u:***@h/1"
        );
        assert_eq!(
            words("no such file", "a.c(1): f ():\nno such file"),
            "no such file"
        );
        assert_eq!(words("Failed.", "a.c(1): f ()"), "Failed");
    }
}
