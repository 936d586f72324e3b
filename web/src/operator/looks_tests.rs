//! Theme, language and the bring-up sheet, as a browser sees them.

use crate::testing::client::{Answer, FORM, ask, cookie, get, site};
use crate::testing::data::PENDING;
use crate::testing::desk::BAD;

async fn page(router: &axum::Router, path: &str, language: &str, more: &str) -> String {
    let cookies = format!("{}; {more}", cookie());
    let answer = get(router, path, &[("cookie", &cookies), ("accept-language", language), ("host", "seed.lan:8443")]).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.text()
}

fn set_cookies(answer: &Answer) -> Vec<&str> {
    answer.headers.get_all("set-cookie").iter().map(|v| v.to_str().unwrap().split(';').next().unwrap()).collect()
}

#[tokio::test]
async fn a_choice_is_kept_by_the_browser_and_needs_no_login() {
    let (_, router) = site("");
    let form = get(&router, "/look", &[]).await.text();
    assert!(form.contains("id=\"theme-system\" name=\"theme\" value=\"system\" checked") && !form.contains("<script"), "{form}");
    let kept = ask(&router, "POST", "/look", &[FORM], "theme=contrast&language=de").await;
    assert_eq!((kept.status.as_u16(), kept.header("location")), (303, "/look"));
    assert_eq!(set_cookies(&kept), ["kubedos_theme=contrast", "kubedos_language=de"]);
    let cookies = set_cookies(&kept).join("; ");
    for path in ["/look", "/login", "/nothing"] {
        let text = get(&router, path, &[("cookie", &cookies), ("accept-language", "en")]).await.text();
        assert!(text.contains("<html lang=\"de\" data-theme=\"contrast\">"), "{path}: {text}");
    }
    for forgotten in ["theme=system&language=", "theme=%3Cscript%3E&language=xx", ""] {
        let answer = ask(&router, "POST", "/look", &[FORM], forgotten).await;
        assert_eq!(set_cookies(&answer), ["kubedos_theme=", "kubedos_language="], "{forgotten}");
    }
}

#[tokio::test]
async fn every_theme_reaches_every_page() {
    let (_, router) = site("");
    for theme in ["light", "dark", "contrast"] {
        for path in ["/", "/machines", "/plan", "/site", "/machines/sheet"] {
            let text = page(&router, path, "en", &format!("kubedos_theme={theme}")).await;
            assert!(text.contains(&format!("data-theme=\"{theme}\"")), "{path}");
        }
    }
}

/// Pages with every text in both languages, the address and something of the German page.
const TRANSLATED: [(&str, &str); 32] = [
    ("/", "Letzte Ereignisse"),
    ("/look", "Hoher Kontrast"),
    ("/machines", "Mit den ausgewählten Maschinen"),
    ("/machines/approve", "Nächster Kopplungscode"),
    ("/machines/2", "Kopplungscode"),
    ("/machines/1", "Booten aus dem Netz"),
    ("/machines/4", "Diesen Knoten ersetzen"),
    ("/machines/7", "Stumm"),
    ("/machines/4/power", "Wake-on-LAN-Paket an"),
    ("/machines/4/revoke", "Geben Sie zur Bestätigung"),
    ("/machines/5/forget", "Maschine vergessen"),
    ("/machines/sheet", "Aufbaublatt"),
    ("/plan", ">Aufnahmefenster</h2>"),
    ("/platform", ">Überall erneut ausführen<"),
    ("/charts", ">Prozessorauslastung</h2>"),
    ("/mesh", ">Datenverkehr zwischen Knoten</h2>"),
    ("/planes", ">Schlüssel von Knoten ersetzen</h2>"),
    ("/images", ">Image bauen</h2>"),
    ("/about", ">Support-Paket herunterladen<"),
    ("/dhcp", "Adresse, MAC-Adresse oder Name"),
    ("/packages", "offline allein aus dem Snapshot"),
    ("/jobs", "Ein Seed führt"),
    ("/clock", "Uhr stellen"),
    ("/audit", ">Ereignisprotokoll</h1>"),
    ("/audit/1", ">Ereignis 1</h1>"),
    ("/settings", ">Einstellungen</h1>"),
    ("/docs", ">Einen Standort betreiben</h2>"),
    ("/docs/countersigning", "aria-label=\"Abschnitte dieses Kapitels\""),
    ("/join-tokens", ">Join-Token</h1>"),
    ("/countersign", ">Gegenzeichnung</h1>"),
    ("/site", "Standort und Wiederherstellung"),
    ("/people", "Alle meine anderen Sitzungen beenden"),
];

#[tokio::test]
async fn the_language_of_a_page_is_the_one_that_it_says() {
    let (_, router) = site("");
    for (path, german) in TRANSLATED {
        let text = page(&router, path, "de", "").await;
        assert!(text.contains("<html lang=\"de\"") && text.contains(german), "{path}: {text}");
        assert!(
            text.contains("<header class=\"bar\">") && text.contains(">Abmelden<"),
            "{path}: the frame is the page's language"
        );
        // The names of languages are in their own.
        let text = page(&router, path, "en", "").await.replace("<option value=\"de\" lang=\"de\"", "");
        assert!(text.contains("<html lang=\"en\"") && !text.contains(german) && !text.contains("lang=\"de\""), "{path}");
    }
}

/// The text between tags, without what is marked as English.
fn shown(html: &str) -> String {
    let mut out = String::new();
    let mut english = Vec::new();
    for part in html.split('<').skip(1) {
        let (tag, text) = part.split_once('>').unwrap_or((part, ""));
        let name = tag.split([' ', '\n']).next().unwrap_or_default();
        if let Some(end) = name.strip_prefix('/') {
            if english.last().is_some_and(|(open, depth)| open == end && *depth == 0) {
                english.pop();
            } else if let Some((_, depth)) = english.last_mut().filter(|(open, _)| open == end) {
                *depth -= 1;
            }
        } else if tag.contains("lang=\"en\"") {
            english.push((name.to_owned(), 0));
        } else if let Some((_, depth)) = english.last_mut().filter(|(open, _)| *open == name) {
            *depth += 1;
        }
        if english.is_empty() {
            out.push_str(text);
            out.push('\n');
        }
    }
    out
}

/// Words that a German page of this product has no reason to have.
const FOREIGN: [&str; 20] = [
    "the", "The", "and", "this", "This", "with", "from", "machine", "Approve", "code", "Choose", "Show", "events", "waiting",
    "Deny", "Search", "Save", "Reason", "Since", "Disks",
];

#[tokio::test]
async fn a_german_page_has_no_english_but_what_is_marked() {
    let (mock, router) = site("");
    mock.state().overview.sealed = true;
    for (path, _) in TRANSLATED.iter().chain(&[("/unseal", ""), ("/machines/3", ""), ("/machines/5", ""), ("/machines/6", "")]) {
        let text = shown(&page(&router, path, "de", "").await);
        // Kinds of events are names, with points and lines in them.
        let words: Vec<&str> =
            text.split(|c: char| !c.is_alphabetic() && !"._".contains(c)).map(|w| w.trim_matches('.')).collect();
        let found: Vec<_> = FOREIGN.iter().filter(|w| words.contains(w)).collect();
        assert!(found.is_empty(), "{path}: {found:?} in {text}");
    }
}

/// Elements that hold the page's own words, never the daemon's.
const OWN: [&str; 12] =
    ["header", "nav", "main", "footer", "h1", "table", "caption", "thead", "th", "label", "button", "summary"];

#[tokio::test]
async fn headings_and_controls_of_a_german_page_are_german_and_what_the_daemon_says_is_marked() {
    let (_, router) = site("");
    for (path, heading, said) in [
        ("/plan", "<h1>Aufnahmeplan</h1>", "<span lang=\"en\">another MAC address</span>. Der Code allein genügt nicht."),
        ("/platform", "<h1>Plattform</h1>", "<span class=\"state wait\"><span lang=\"en\">1 of 3 healthy</span></span>"),
        ("/charts", "<h1>Diagramme</h1>", "<strong>NodeDown</strong> <span lang=\"en\">etcd-3 does not answer</span>"),
        ("/mesh", "<h1>Mesh</h1>", ""),
        ("/planes", "<h1>Ebenen</h1>", "<span lang=\"en\">backups</span> <span class=\"sub\">fest eingebaut</span>"),
        ("/images", "<h1>Images</h1>", "<span lang=\"en\">node.qcow2 was changed</span>"),
        ("/about", "<h1>Info</h1>", ""),
    ] {
        let text = page(&router, path, "de", "").await;
        assert!(text.contains(heading) && text.contains(said), "{path}: {text}");
        for tag in text.split('<').skip(1).filter_map(|part| Some(part.split_once('>')?.0)) {
            let name = tag.split([' ', '\n']).next().unwrap_or_default();
            assert!(!OWN.contains(&name) || !tag.contains("lang=\"en\""), "{path}: <{tag}>");
        }
    }
}

#[tokio::test]
async fn what_is_counted_measured_and_composed_is_german() {
    let (_, router) = site("");
    for (path, says) in [
        ("/plan", ">2 Maschinen, 1 <a href=\"#verdicts\">zurückgestellt</a>"),
        ("/plan", "Z, geöffnet von ada. Unbekannte Maschinen dürfen die Aufnahme anfordern."),
        ("/plan", "Vorausgefüllt, <span lang=\"en\">by rule 2</span>: Name r01u07, Rolle base, Datenträger smallest"),
        ("/platform", "führt exporters, etcd aus"),
        ("/platform", "6 in Ordnung, 2 geändert, 74 s"),
        ("/platform", "<span class=\"state bad\">fehlgeschlagen</span>"),
        ("/charts", "von Prometheus auf mon-1,"),
        ("/charts", "2 weitere mit kleineren Werten sind nicht dargestellt."),
        ("/mesh", "etcd-3: wg2 hat tcp/10250 mit mon-1 übertragen"),
        ("/planes", "Hub: der Seed, store"),
        ("/planes", ">wartet, bis er an der Reihe ist<"),
        ("/images", "aria-label=\"Für die Rolle base bauen\""),
        ("/images", ">nur für edge<"),
        ("/about", "Schema 8"),
    ] {
        let text = page(&router, path, "de", "").await;
        assert!(text.contains(says), "{path}: {says} in {text}");
    }
}

#[tokio::test]
async fn a_plan_is_checked_and_refused_in_german() {
    let (_, router) = site("");
    let cookie = cookie();
    let headers = [FORM, ("cookie", cookie.as_str()), ("accept-language", "de")];
    let form = |act: &str, role: &str| {
        let token = crate::auth::csrf(crate::testing::TOKEN);
        format!("csrf={token}&act={act}&text=serial,name,role%0ASN1,a,{role}%0A")
    };
    for (act, role, status, says) in [
        (
            "check",
            "base",
            200,
            "<strong>Probelauf: Es wurde nichts gespeichert.</strong> Der Text unten hat 5 Zeilen ohne Widersprüche.",
        ),
        ("check", "nosuch", 200, "<caption>Widersprüche</caption>"),
        ("check", "nosuch", 200, "<td data-label=\"Problem\"><span lang=\"en\">"),
        ("set", "nosuch", 400, "Fehler: <span lang=\"en\">"),
    ] {
        let answer = ask(&router, "POST", "/plan", &headers, form(act, role)).await;
        assert_eq!(answer.status, status, "{act} {role}");
        let text = answer.text();
        assert!(text.contains("<html lang=\"de\"") && text.contains(says), "{act} {role}: {text}");
    }
}

#[tokio::test]
async fn pages_before_the_login_and_of_a_sealed_seed_are_translated_too() {
    let (mock, router) = site("");
    let german = [("accept-language", "de")];
    let text = get(&router, "/login", &german).await.text();
    assert!(
        text.contains("<html lang=\"de\"") && text.contains(">Benutzername<") && text.contains("data-none=\"Es wurde"),
        "{text}"
    );
    mock.state().overview.sealed = true;
    let text = page(&router, "/unseal", "de", "").await;
    assert!(text.contains("<html lang=\"de\"") && text.contains(">Passphrase des Standorts<"), "{text}");
    mock.state().overview.setup_needed = true;
    let text = get(&router, "/setup", &german).await.text();
    assert!(text.contains("<html lang=\"de\"") && text.contains(">Einrichtungscode<"), "{text}");
}

#[tokio::test]
async fn acts_on_many_are_confirmed_and_reported_in_german() {
    let (_, router) = site("");
    let cookie = cookie();
    let headers = [FORM, ("cookie", cookie.as_str()), ("accept-language", "de")];
    let form = |rest: &str| format!("csrf={}&m4=1&m5=1&{rest}", crate::auth::csrf(crate::testing::TOKEN));
    for (fields, says) in [
        ("act=deny", ">Ablehnen: 2 Maschinen<"),
        ("act=off", "als würde der Stecker gezogen"),
        ("act=off&count=3", "Fehler: <span lang=\"en\">the number does not match</span>"),
        ("act=on", "Für alle 2 Maschinen erledigt."),
    ] {
        let text = ask(&router, "POST", "/machines/act", &headers, form(fields)).await.text();
        assert!(text.contains("<html lang=\"de\"") && text.contains(says), "{fields}: {text}");
    }
}

#[tokio::test]
async fn records_are_translated_around_what_the_daemon_says() {
    let (_, router) = site("");
    for (path, says) in [
        ("/audit", "Der neueste von 2 signierten Checkpoints umfasst die Ereignisse bis <a href=\"/audit/11\">"),
        ("/audit", "class=\"text\"><span lang=\"en\">wrong code</span></td>"),
        ("/audit?q=nowhere", ">Kein Ereignis passt zur Suche.<"),
        ("/audit/1", "<div lang=\"en\"><dt>transaction</dt><dd>1a2b3c4d</dd></div>"),
        ("/audit/1", "über die Ereignisse bis 11, Hash <code"),
        ("/docs", "<ul class=\"plain\" lang=\"en\">"),
        ("/docs/countersigning", "<article class=\"chapter\" lang=\"en\">"),
        ("/join-tokens", ">1 von 20</td>"),
        ("/join-tokens", "<span lang=\"en\">is used up</span></span><div class=\"sub\">Zustimmung von bob</div>"),
        ("/countersign", "<li><span lang=\"en\">cluster.yaml has another key</span></li>"),
        ("/countersign", "Warten auf eine Signatur <span class=\"sub\">1 Knoten</span>"),
    ] {
        let text = page(&router, path, "de", "").await;
        assert!(text.contains(says), "{path}: {says} in {text}");
    }
}

#[tokio::test]
async fn a_change_of_the_settings_is_compared_and_refused_in_german() {
    let (_, router) = site("");
    let cookie = cookie();
    let headers = [FORM, ("cookie", cookie.as_str()), ("accept-language", "de")];
    let send = async |text: &str| {
        let form = format!("csrf={}&tag=x&text={text}", crate::auth::csrf(crate::testing::TOKEN));
        ask(&router, "POST", "/settings", &headers, form).await
    };
    let compared = send("kind%3A+Other").await;
    assert_eq!(compared.status, 200);
    let text = compared.text();
    for part in [
        ">Was sich ändert</h2>",
        "<span class=\"hidden\">entfernt</span>",
        "<span class=\"hidden\">hinzugefügt</span>",
        "<pre class=\"plan\" lang=\"en\">0 nodes would run their plays</pre>",
        ">Diese Änderungen übernehmen<",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let refused = send(&format!("one%0D%0A{BAD}")).await;
    assert_eq!(refused.status, 422);
    let text = refused.text();
    assert!(text.contains(">Die Datei wird abgelehnt</h2>"), "{text}");
    assert!(text.contains(">Zeile 2, Spalte 7</a>: <span lang=\"en\">unknown kind</span>"), "{text}");
}

#[tokio::test]
async fn the_password_is_asked_for_again_in_german() {
    let (_, router) = site("");
    let stale = "stale-administrator";
    let cookie = format!("kubedos_session={stale}");
    let headers = [FORM, ("cookie", cookie.as_str()), ("accept-language", "de")];
    let send = async |more: &str| {
        let form = format!("csrf={}&tag=x&text=kind{more}", crate::auth::csrf(stale));
        ask(&router, "POST", "/settings/apply", &headers, form).await
    };
    let asked = send("").await;
    assert_eq!(asked.status, 403);
    let text = asked.text();
    assert!(text.contains("<html lang=\"de\"") && text.contains("<h1>Geben Sie Ihr Passwort erneut ein</h1>"), "{text}");
    assert!(text.contains(">Weiter</button>") && !text.contains("lang=\"en\""), "{text}");
    let wrong = send("&again-password=guess").await;
    assert_eq!(wrong.status, 403);
    assert!(wrong.text().contains("Fehler: <span lang=\"en\">"), "{}", wrong.text());
}

#[tokio::test]
async fn a_refusal_keeps_the_language_and_marks_the_daemons_words() {
    let (_, router) = site("");
    let headers = [FORM, ("accept-language", "de")];
    let wrong = ask(&router, "POST", "/login", &headers, "user=ada&password=x").await;
    assert_eq!(wrong.status, 401);
    let text = wrong.text();
    assert!(text.contains("Fehler: <span lang=\"en\">wrong user name or password</span>"), "{text}");
    assert!(text.contains(">Anmelden</h1>") && text.contains("value=\"ada\""), "{text}");
    let missing = get(&router, "/nothing", &[("accept-language", "de")]).await;
    assert_eq!(missing.status, 404);
    let text = missing.text();
    assert!(
        text.contains("Seite nicht gefunden") && text.contains("<div lang=\"en\">\n<p><strong>no such page or file"),
        "{text}"
    );
    // A program is answered as before.
    let json = get(&router, "/api/v1/status", &[("accept-language", "de")]).await;
    assert_eq!((json.status.as_u16(), json.json()["status"].as_u64()), (401, Some(401)));
}

#[tokio::test]
async fn the_sheet_has_a_card_for_each_machine_that_is_planned_or_waits() {
    let (_, router) = site("");
    let text = page(&router, "/machines/sheet", "en", "").await;
    let cards: Vec<&str> = text.split("<li>\n<h2>").skip(1).collect();
    // Three rows whose machines wait, two machines without a row, and a row whose machine nobody has seen.
    assert_eq!(cards.len(), 6, "{text}");
    for part in ["r01u08", "SN1", "52:54:00:ab:00:4d", "base", "serial:S5GX", "hall 2", "class=\"qr\"", "<code>12-</code>"] {
        assert!(cards[0].contains(part), "{part}: {}", cards[0]);
    }
    assert!(cards[0].contains(&format!("href=\"/machines/{PENDING}\"")), "{}", cards[0]);
    assert!(cards[3].contains("Not planned") && cards[3].contains("SN9"), "{}", cards[3]);
    assert!(cards[5].contains("href=\"/machines/by/52540") && cards[5].contains("r01u08"), "{}", cards[5]);
    assert!(text.contains("http://seed.lan:8443") && !text.contains("id=\"only-here\""), "{text}");
    assert!(!text.contains(" style="), "the policy allows no inline style");
    let tunnel = get(&router, "/machines/sheet", &[("cookie", &cookie()), ("host", "127.0.0.1:8443")]).await.text();
    assert!(tunnel.contains("id=\"only-here\""), "{tunnel}");
}

#[tokio::test]
async fn the_code_on_a_card_leads_to_the_machine_also_after_the_login() {
    let (mock, router) = site("");
    mock.state().machines[2].facts.as_mut().unwrap().serial = "Only-1".to_owned();
    let cookie = cookie();
    for (path, to) in [
        ("/machines/by/525400ab0002", "/machines/2"),
        ("/machines/by/525400AB0002", "/machines/2"),
        ("/machines/by/ONLY-1", "/machines/3"),
        // Several have it.
        ("/machines/by/A1B2C3", "/machines?q=serial%3A%22A1B2C3%22"),
        ("/machines/by/525400ab00ff", "/machines?q=mac%3A52%3A54%3A00%3Aab%3A00%3Aff"),
        ("/machines/by/SN%22%3C1", "/machines?q=serial%3A%22SN%3C1%22"),
    ] {
        let answer = get(&router, path, &[("cookie", &cookie)]).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (303, to), "{path}");
    }
    let stranger = get(&router, "/machines/by/525400ab0002", &[]).await;
    assert_eq!(stranger.header("location"), "/login?next=/machines/by/525400ab0002");
}
