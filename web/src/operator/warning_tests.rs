//! Every page shows what an operator should act on.

use crate::testing::client::{cookie, get, site};
use crate::testing::data::PENDING;

const RAM: &str = "the state is in memory & lost at power-off <b>";

#[tokio::test]
async fn every_page_shows_the_warnings() {
    let machine = format!("/machines/{PENDING}");
    // (page, logged in, sealed, no administrator yet)
    let pages = [
        ("/", true, false, false),
        ("/", true, true, false),
        (machine.as_str(), true, false, false),
        ("/unseal", true, true, false),
        ("/login", false, false, false),
        ("/setup", false, true, true),
    ];
    for (page, logged_in, sealed, setup_needed) in pages {
        let (mock, router) = site("");
        let cookie = cookie();
        let headers = if logged_in { vec![("cookie", cookie.as_str())] } else { vec![] };
        {
            let mut state = mock.state();
            (state.overview.sealed, state.overview.setup_needed) = (sealed, setup_needed);
            state.overview.lasting = vec![RAM.to_owned()];
            state.overview.warnings = vec![RAM.to_owned(), "second".to_owned()];
        }
        let answer = get(&router, page, &headers).await;
        assert_eq!(answer.status, 200, "{page}");
        let text = answer.text();
        let strip = text.find("<section class=\"warnings\"").unwrap_or_else(|| panic!("{page} shows no warnings: {text}"));
        assert!(strip < text.find("<main").unwrap_or(0), "{page}: above what the page is about");
        assert_eq!(text.matches("lost at power-off").count(), 1, "{page}: once");
        assert!(!text.contains("power-off <b>"), "{page}: escaped");
        assert_eq!(text.contains("<li>second</li>"), logged_in, "{page}: strangers see only the lasting ones");

        mock.state().overview.warnings.clear();
        mock.state().overview.lasting.clear();
        let text = get(&router, page, &headers).await.text();
        assert!(!text.contains("class=\"warnings\""), "{page}: no strip without a warning");
        assert!(text.contains("id=\"warnings\" data-live"), "{page}: the place is there, for the live pages");
    }
}
