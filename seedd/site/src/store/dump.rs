//! Tables as versioned JSON lines, for a capsule. Columns are stored by name, so that a newer schema can read older lines.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as B64;
use cluster_seed::capsule::Table;
use cluster_seed::fleet::{Label, MAX_LABELS};
use rusqlite::types::{Value as Sql, ValueRef};
use rusqlite::{params, params_from_iter};
use serde_json::{Map, Value};

use super::notes::NoteRecord;
use super::{StoreError, Tx};
use crate::setting;

/// Tables that a capsule replaces, parents first. Leases belong to a segment, sessions to a browser and API tokens to
/// this seed: none of them is included.
const TABLES: [(Table, &str); 7] = [
    (Table::Setting, "setting"),
    (Table::Machine, "machine"),
    (Table::Enrollment, "enrollment"),
    (Table::Node, "node"),
    (Table::Plane, "node_plane"),
    (Table::Admin, "admin"),
    (Table::Event, "event"),
];

const TRIGGERS: [&str; 2] = ["event_is_append_only", "event_is_kept"];

fn name_of(table: Table) -> Option<&'static str> {
    TABLES.iter().find(|(t, _)| *t == table).map(|(_, name)| *name)
}

fn corrupt(what: &'static str) -> StoreError {
    StoreError::Corrupt { what }
}

fn to_json(value: ValueRef<'_>) -> Result<Value, StoreError> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(n) => n.into(),
        ValueRef::Text(t) => std::str::from_utf8(t).map_err(|_| corrupt("a text"))?.into(),
        ValueRef::Blob(b) => serde_json::json!({ "base64": B64.encode(b) }),
        ValueRef::Real(_) => return Err(corrupt("a number")),
    })
}

fn to_sql(value: Value) -> Result<Sql, StoreError> {
    let bad = || corrupt("a capsule's row");
    Ok(match value {
        Value::Null => Sql::Null,
        Value::Number(n) => Sql::Integer(n.as_i64().ok_or_else(bad)?),
        Value::String(s) => Sql::Text(s),
        Value::Object(map) => match (map.len(), map.get("base64")) {
            (1, Some(Value::String(text))) => Sql::Blob(B64.decode(text).map_err(|_| bad())?),
            _ => return Err(bad()),
        },
        _ => return Err(bad()),
    })
}

/// A machine's labels and place are part of its line.
fn note_into(line: &mut Map<String, Value>, note: NoteRecord) {
    if !note.place.is_empty() {
        line.insert("place".to_owned(), note.place.into());
    }
    if !note.labels.is_empty() {
        line.insert("labels".to_owned(), note.labels.into());
    }
}

/// Takes them from a line, as an operator could have typed them.
fn note_from(row: &mut Map<String, Value>) -> Result<Option<(i64, NoteRecord)>, StoreError> {
    let bad = || corrupt("a capsule's note of a machine");
    let (place, labels) = (row.remove("place"), row.remove("labels"));
    if place.is_none() && labels.is_none() {
        return Ok(None);
    }
    let id = row.get("id").and_then(Value::as_i64).ok_or_else(bad)?;
    let text = |v: &Value| v.as_str().map(str::to_owned).ok_or_else(bad);
    let place = cluster_seed::fleet::place(&place.as_ref().map(text).transpose()?.unwrap_or_default()).map_err(|_| bad())?;
    let labels = labels.as_ref().map_or(Some(&[][..]), |l| l.as_array().map(Vec::as_slice)).ok_or_else(bad)?;
    let label = |v: &Value| text(v)?.parse::<Label>().map(|l| l.as_str().to_owned()).map_err(|_| bad());
    let labels = labels.iter().map(label).collect::<Result<BTreeSet<_>, _>>()?;
    if labels.len() > MAX_LABELS {
        return Err(bad());
    }
    Ok(Some((id, NoteRecord { place, labels: labels.into_iter().collect() })))
}

impl Tx<'_> {
    /// Passes every row of a table to `each` as one line of JSON. Settings of this installation only are left out.
    pub fn dump<E: From<StoreError>>(&self, table: Table, mut each: impl FnMut(&str) -> Result<(), E>) -> Result<(), E> {
        let Some(name) = name_of(table) else { return Ok(()) };
        let sql = format!("SELECT * FROM {name} ORDER BY rowid");
        let mut q = self.tx.prepare(&sql).map_err(StoreError::from)?;
        let columns: Vec<String> = q.column_names().map(str::to_owned).collect();
        let mut rows = q.query([]).map_err(StoreError::from)?;
        while let Some(row) = rows.next().map_err(StoreError::from)? {
            let mut line = Map::new();
            for (i, column) in columns.iter().enumerate() {
                line.insert(column.clone(), to_json(row.get_ref(i).map_err(StoreError::from)?)?);
            }
            if let (Table::Machine, Some(id)) = (table, line.get("id").and_then(Value::as_i64)) {
                note_into(&mut line, self.note_of(id)?);
            }
            if table != Table::Setting || !line["key"].as_str().is_some_and(setting::is_local) {
                each(&Value::Object(line).to_string())?;
            }
        }
        Ok(())
    }

    /// Empties the tables that a capsule replaces. Administrators and this installation's own settings are kept.
    pub fn clear_for_import(&self) -> Result<(), StoreError> {
        for trigger in TRIGGERS {
            self.tx.execute_batch(&format!("DROP TRIGGER IF EXISTS {trigger}"))?;
        }
        for (table, name) in TABLES.iter().rev() {
            match table {
                Table::Admin => 0,
                Table::Setting => {
                    let sql = "DELETE FROM setting WHERE substr(key, 1, length(?1)) <> ?1 AND key <> ?2";
                    self.tx.execute(sql, [setting::LOCAL, setting::MEDIUM])?
                }
                _ => self.tx.execute(&format!("DELETE FROM {name}"), [])?,
            };
        }
        Ok(())
    }

    /// A user of this seed gets the password of a user of the same name in a capsule, or is disabled: whoever logged in before may be
    /// another person. Sessions, API tokens and passkeys end as with a password that was reset.
    fn end_access_if_replaced(&self, row: &Map<String, Value>) -> Result<(), StoreError> {
        let text = |key: &str| row.get(key).and_then(Value::as_str);
        let user = text("user").ok_or_else(|| corrupt("a capsule's user"))?;
        let known = self.user(user)?.is_some();
        let same = row.get("disabled").is_none_or(Value::is_null) && self.password_hash(user)?.as_deref() == text("password");
        if known && !same {
            self.end_sessions_of(user, None)?;
            self.revoke_api_tokens_of(user)?;
            self.remove_passkeys_of(user)?;
        }
        Ok(())
    }

    /// Inserts one line that [`Tx::dump`] wrote. A user of the same name is replaced.
    pub fn load(&self, table: Table, line: &str) -> Result<(), StoreError> {
        let Some(name) = name_of(table) else { return Err(corrupt("a capsule's table")) };
        let mut row: Map<String, Value> = serde_json::from_str(line).map_err(|_| corrupt("a capsule's row"))?;
        let note = if table == Table::Machine { note_from(&mut row)? } else { None };
        if table == Table::Setting && row.get("key").and_then(Value::as_str).is_none_or(setting::is_local) {
            return Err(corrupt("a capsule's setting"));
        }
        let known = self.columns(name)?;
        // The text of the statement uses only column names of our own schema, never text from the capsule.
        if row.is_empty() || row.keys().any(|k| !known.contains(k)) {
            return Err(corrupt("a capsule's row (made by a newer kubedos?)"));
        }
        if table == Table::Admin {
            self.end_access_if_replaced(&row)?;
        }
        let columns: Vec<&str> = row.keys().map(String::as_str).collect();
        let marks: Vec<String> = (1..=columns.len()).map(|n| format!("?{n}")).collect();
        let conflict = match table {
            Table::Admin => {
                " ON CONFLICT (user) DO UPDATE SET password = excluded.password, created = excluded.created, rights = excluded.rights, \
                 disabled = excluded.disabled"
            }
            _ => "",
        };
        let sql = format!("INSERT INTO {name} ({}) VALUES ({}){conflict}", columns.join(", "), marks.join(", "));
        let mut insert = self.tx.prepare_cached(&sql)?;
        let values = row.into_iter().map(|(_, v)| to_sql(v)).collect::<Result<Vec<_>, _>>()?;
        insert.execute(params_from_iter(values))?;
        match note {
            Some((machine, note)) => self.set_note(machine, &note),
            None => Ok(()),
        }
    }

    fn columns(&self, table: &str) -> Result<Vec<String>, StoreError> {
        let mut q = self.tx.prepare_cached("SELECT name FROM pragma_table_info(?1)")?;
        let names = q.query_map(params![table], |r| r.get(0))?;
        Ok(names.collect::<Result<_, _>>()?)
    }

    /// Restores the triggers that protect the event log, and reads every loaded row as the program does.
    pub fn check_import(&self) -> Result<(), StoreError> {
        self.tx.execute_batch(include_str!("guards.sql"))?;
        let orphans: i64 = self.tx.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |r| r.get(0))?;
        if orphans > 0 {
            return Err(corrupt("the capsule's references"));
        }
        if self.broken_event()?.is_some() {
            return Err(corrupt("the capsule's event log"));
        }
        self.machines()?;
        self.every_enrollment()?;
        self.live_nodes()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use cluster_seed::events::EventKind;

    use super::super::Store;
    use super::super::events::NewEvent;
    use super::*;

    fn filled() -> Store {
        let store = Store::in_memory().unwrap();
        let done: Result<(), StoreError> = store.write(|tx| {
            tx.set("snapshot", "x")?;
            tx.set("local:mode", "standby")?;
            tx.add_admin("ada", "hash", 5)?;
            let id = tx.see_machine("02:00:00:00:00:01".parse().unwrap(), Some("10.0.0.9".parse().unwrap()), 7)?.unwrap();
            tx.set_place(id, "hall 2")?;
            tx.set_labels(id, &Label::list("b, a").unwrap(), &[])?;
            for n in 0..3u64 {
                tx.event(n, &NewEvent { machine: Some(1), ..NewEvent::new(EventKind::SeedStarted, "é\n\"") })?;
            }
            Ok(())
        });
        done.unwrap();
        store
    }

    fn lines(store: &Store) -> Vec<(Table, String)> {
        let mut all = Vec::new();
        let read: Result<(), StoreError> = store.read(|tx| {
            for (table, _) in TABLES {
                tx.dump(table, |line| {
                    all.push((table, line.to_owned()));
                    Ok::<_, StoreError>(())
                })?;
            }
            Ok(())
        });
        read.unwrap();
        all
    }

    fn import(store: &Store, lines: &[(Table, String)]) -> Result<(), StoreError> {
        store.write(|tx| {
            tx.clear_for_import()?;
            lines.iter().try_for_each(|(table, line)| tx.load(*table, line))?;
            tx.check_import()
        })
    }

    #[test]
    fn every_row_comes_back_the_same_and_local_settings_stay_here() {
        let rows = lines(&filled());
        let there = Store::in_memory().unwrap();
        there.set("local:mode", "active").unwrap();
        there.set("snapshot", "other").unwrap();
        let done: Result<_, StoreError> = there.write(|tx| {
            tx.add_admin("bob", "h", 1)?;
            tx.add_admin("ada", "old", 1)?;
            tx.event(1, &NewEvent::new(EventKind::SeedStarted, "x"))
        });
        done.unwrap();
        import(&there, &rows).unwrap();
        let mut expected = rows.clone();
        expected.insert(expected.iter().position(|(t, _)| *t == Table::Event).unwrap(), {
            (Table::Admin, r#"{"created":1,"disabled":null,"password":"h","rights":"administrator","user":"bob"}"#.to_owned())
        });
        let sorted = |mut v: Vec<(Table, String)>| {
            v.sort();
            v
        };
        assert_eq!(sorted(lines(&there)), sorted(expected));
        assert_eq!(there.setting("local:mode").unwrap().as_deref(), Some("active"));
        let note = there.read(|tx| tx.note_of(1)).unwrap();
        assert_eq!((note.place.as_str(), note.labels), ("hall 2", vec!["a".to_owned(), "b".to_owned()]));
        let of = |row: &str| rows.iter().any(|(t, line)| *t == Table::Machine && line.contains(row));
        assert!(of(r#""labels":["a","b"]"#) && of(r#""place":"hall 2""#));
        // The log is append-only again.
        let cut: Result<(), StoreError> = there.write(|tx| Ok(tx.tx.execute_batch("DELETE FROM event")?));
        assert!(cut.is_err());
    }

    #[test]
    fn an_imported_user_of_the_same_name_ends_the_access_of_the_one_before() {
        use super::super::api_tokens::ApiTokenRecord;
        use super::super::people::{NewSession, SessionLimits};
        let rows = lines(&filled());
        for (password, kept) in [("another hash", 0), ("hash", 1)] {
            let there = Store::in_memory().unwrap();
            let done: Result<(), StoreError> = there.write(|tx| {
                for (user, password) in [("ada", password), ("bob", "h")] {
                    tx.add_admin(user, password, 1)?;
                    let new = NewSession { token_hash: user, user, address: "", browser: "", lasts: 100 };
                    tx.add_session(&new, 1)?;
                    let id = if user == "ada" { "0a1b2c3d" } else { "0a1b2c3e" }.parse().unwrap();
                    let scopes = std::iter::once(cluster_seed::people::Permission::Read).collect();
                    let (user, name) = (user.to_owned(), "t".to_owned());
                    let token = ApiTokenRecord { id, user: user.clone(), name, scopes, created: 1, expires: 99, used: None };
                    assert!(tx.add_api_token(&token, &user, 1)?);
                }
                Ok(())
            });
            done.unwrap();
            import(&there, &rows).unwrap();
            let left = |user: &str| {
                let limits = SessionLimits { longest: 1_000, idle: 1_000 };
                let read: Result<_, StoreError> =
                    there.read(|tx| Ok((tx.sessions(Some(user), 2, limits)?.len(), tx.api_tokens(Some(user))?.len())));
                read.unwrap()
            };
            assert_eq!((left("ada"), left("bob")), ((kept, kept), (1, 1)), "{password}");
        }
    }

    #[test]
    fn rows_that_lie_are_refused_and_change_nothing() {
        let good = lines(&filled());
        let there = filled();
        let before = lines(&there);
        for (table, bad) in [
            (Table::Setting, r#"{"key":"local:mode","value":"active"}"#),
            (Table::Setting, r#"{"value":"x"}"#),
            (Table::Machine, r#"{"id":9,"mac":"x); DROP TABLE node;--","first_seen":1,"last_seen":1}"#),
            (Table::Machine, r#"{"id":9,"mac":"02:00:00:00:00:09","first_seen":1,"last_seen":1,"labels":["a,b"]}"#),
            (Table::Machine, r#"{"id":9,"mac":"02:00:00:00:00:09","first_seen":1,"last_seen":1,"place":7}"#),
            (Table::Machine, r#"{"id) VALUES (1); DROP TABLE node;--":9}"#),
            (Table::Enrollment, r#"{"id":"x"}"#),
            (Table::Plane, r#"{"node":"none","plane":"wg1","address":"1.2.3.4","public":"k"}"#),
            (Table::Event, r#"{"id":99,"at":1,"kind":"k","text":"forged","hash":"00"}"#),
            (Table::File, "{}"),
            (Table::Admin, "[]"),
            (Table::Admin, r#"{"user":"eve","password":1.5,"created":1}"#),
        ] {
            let rows: Vec<_> = good.iter().cloned().chain([(table, bad.to_owned())]).collect();
            assert!(import(&there, &rows).is_err(), "{bad}");
            assert_eq!(lines(&there), before, "{bad}");
        }
    }
}
