# Die Texte der Seiten auf Deutsch. Jeder Schlüssel steht auch in en.ftl, mit denselben Variablen und Elementen; ein Test vergleicht sie.
# Begriffe: machine Maschine, node Knoten, plane Ebene, site Standort, place Einbauort, enrollment Aufnahme, approve freigeben,
# deny ablehnen, revoke sperren, seal versiegeln, pairing code Kopplungscode, drill Übung, snapshot Snapshot, seed Seed (der).

## Frame
skip = Zum Inhalt springen
nav-site = Standort
nav-home = Start
nav-machines = Maschinen
nav-plan = Plan
nav-platform = Plattform
nav-charts = Diagramme
nav-mesh = Mesh
nav-planes = Ebenen
nav-packages = Pakete
nav-images = Images
nav-dhcp = DHCP
nav-jobs = Aufträge
nav-audit = Protokoll
nav-the-site = Standort
nav-settings = Einstellungen
nav-clock = Uhr
log-out = Abmelden
sealed-strip = <strong>Der Seed ist versiegelt.</strong> Er liefert Bootdateien und Pakete aus, kann aber keine Maschinen freigeben.
unseal = Entsiegeln
warnings = Warnungen
foot-help = Hilfe zu dieser Seite
foot-docs = Dokumentation
foot-about = Info
foot-look = Darstellung und Sprache
live-on = live
live-off = keine Verbindung
live-changed = geändert; bitte neu laden
live-no-copy = Kopieren ist hier nicht erlaubt
live-select-all = Alle auf dieser Seite auswählen
rights-viewer = Leserechte
rights-operator = Operator
rights-administrator = Administrator
rights-auditor = Auditor
error = Fehler:
copy = Kopieren
copy-command = des Befehls
copy-mac = der MAC-Adresse
copy-address = der Adresse
copy-serial = der Seriennummer
labels = Labels

## Times
ago-now = gerade eben
ago-seconds = vor { $n } s
ago-minutes = vor { $n } min
ago-hours = vor { $n } h
ago-days = { $n ->
    [one] vor 1 Tag
   *[other] vor { $n } Tagen
}

## Appearance and language
look-title = Darstellung und Sprache
look-about = Wird in diesem Browser für diesen Seed gespeichert.
look-theme = Farbschema
theme-system = Wie im System eingestellt
theme-light = Hell
theme-dark = Dunkel
theme-contrast = Hoher Kontrast
look-language = Sprache
language-browser = Wie im Browser eingestellt
look-save = Speichern
look-partly = Die Kapitel der Dokumentation gibt es nur auf Englisch.

## Login
log-in = Anmelden
user-name = Benutzername
password = Passwort
log-in-passkey = Mit Passkey anmelden
passkey-unused = Es wurde kein Passkey verwendet.
passkey-elsewhere = Passkeys funktionieren nur unter { $x } und mit einem Zertifikat, dem dieser Browser vertraut

## First administrator
admin-title = Erster Administrator
admin-head = Ersten Administrator anlegen
admin-about = Dieser Seed hat noch keinen Administrator. Geben Sie den Einrichtungscode ein, den der Daemon beim Start ausgegeben hat.
setup-code = Einrichtungscode
confirm-password = Passwort wiederholen
admin-create = Administrator anlegen

## Set-up
setup-title = Einrichtung
setup-new-seed = neuer Seed
setup-head = Seed einrichten
setup-about = Die Konsole dieser Maschine zeigt einen Einrichtungscode und den Fingerabdruck des Zertifikats dieser Seite. Vergleichen Sie den Fingerabdruck, bevor Sie etwas Geheimes eingeben.
setup-site = Name des Standorts
setup-passphrase = Passphrase des Standorts
setup-passphrase-about = Sie verschlüsselt die Schlüssel des Standorts und wird nach jedem Start gebraucht. Sie lässt sich nicht zurücksetzen: Ohne sie kann dieser Standort nie wieder eine Maschine freigeben.
setup-passphrase-confirm = Passphrase wiederholen
setup-user = Benutzername des Administrators
setup-iface = Schnittstelle des Boot-Netzes
setup-iface-about = Auf dieser Schnittstelle beantwortet der Seed DHCP-Anfragen. Gibt es im Netz einen anderen DHCP-Server, vergibt der Seed keine Adressen und liefert nur die Angaben zum Booten.
setup-create = Standort anlegen
setup-link = Link
setup-no-link = kein Link

## Errors
error-refused = Die Anfrage wurde abgelehnt
error-unauthorized = Anmeldung erforderlich
error-forbidden = Nicht erlaubt
error-not-found = Seite nicht gefunden
error-method = Verwenden Sie das Formular auf der Seite
error-timeout = Die Anfrage hat zu lange gedauert
error-sealed = Der Seed ist versiegelt
error-too-many = Zu viele Versuche
error-unavailable = Der Seed ist ausgelastet
error-internal = Interner Fehler des Seeds
error-back = Zur Startseite
error-request = Anfrage <code>{ $x }</code>. Suchen Sie im Log des Daemons nach dieser Kennung.

## The password again
again-head = Geben Sie Ihr Passwort erneut ein
again-why = Dieser Schritt lässt sich nicht rückgängig machen oder gibt einer anderen Person Zugang. Geben Sie zur Sicherheit das Passwort von <b>{ $x }</b> ein. Ihre bisherigen Eingaben bleiben erhalten, und der Vorgang wird fortgesetzt.
continue = Weiter
cancel = Abbrechen

## Bring-up sheet
sheet-title = Aufbaublatt
sheet-about = Eine Karte für jede Maschine, die geplant ist oder auf Freigabe wartet, zum Ausdrucken und Mitnehmen ans Rack. Der QR-Code führt ein Smartphone zum Formular der Maschine.
sheet-address = Die QR-Codes führen zu { $x }.
sheet-only-here = Diese Seite wurde unter { $x } geöffnet; diese Adresse erreicht ein Smartphone nicht. Öffnen Sie sie vor dem Drucken unter einer Adresse des Seeds.
sheet-none = Keine Maschine ist geplant, und keine wartet auf Freigabe.
sheet-to-plan = Aufnahmeplan
sheet-not-planned = Nicht geplant
sheet-serial = Seriennr.
sheet-macs = MAC
sheet-role = Rolle
sheet-disk = Laufwerk
sheet-place = Einbauort
sheet-model = Modell
sheet-code = Kopplungscode
sheet-qr = QR-Code des Formulars von { $x }
sheet-count = { $n ->
    [one] 1 Maschine
   *[other] { $n } Maschinen
}
sheet-print = Aufbaublatt zum Drucken
pages = Seiten
page-of = Seite { $n } von { $x }
page-previous = Vorherige Seite
page-next = Nächste Seite

## Stages and states
stage-seen = Erkannt
stage-waiting = Wartet
stage-installing = Installation
stage-joining = Beitritt
stage-working = In Betrieb
stage-silent = Stumm
stage-failed = Fehlgeschlagen
stage-ended = Beendet
stages = Phasen
state-seen = Erkannt
state-discovered = Entdeckt
state-pending = Wartet auf Freigabe
state-confirming = Codeprüfung
state-approved = Freigegeben
state-issued = Identität ausgestellt
state-installing = Installation
state-installed = Installiert
state-fabric-ready = Verbunden
state-converged = In Betrieb
state-denied = Abgelehnt
state-revoked = Gesperrt
state-failed = Fehlgeschlagen
state-expired = Abgelaufen
means-seen = Hat eine Adresse angefordert; ihr Agent hat sich noch nicht beim Seed gemeldet.
means-discovered = Der Agent hat sich gemeldet und sendet gleich seine Schlüssel.
means-pending = Wartet auf Freigabe: Die Konsole zeigt einen Kopplungscode.
means-confirming = Der Code wird mit der Maschine abgeglichen …
means-approved = Freigegeben; der Agent holt gleich seine Identität ab.
means-issued = Der Agent hat seine Identität und schreibt gleich den Datenträger.
means-installing = Der Datenträger wird geschrieben und geprüft.
means-installed = Der Datenträger ist geschrieben; die Maschine startet davon und tritt den Ebenen bei.
means-fabric-ready = Mit allen Ebenen verbunden; die Konfiguration wird angewendet.
means-converged = Ein Knoten in Betrieb.
means-denied = Nicht freigegeben.
means-revoked = Gehört nicht mehr zu den Ebenen.
means-failed = Die Maschine hat aufgegeben. Starten Sie sie neu, um sie erneut aufzunehmen.
means-expired = Nicht rechtzeitig freigegeben. Starten Sie die Maschine neu, um sie erneut aufzunehmen.
unknown-model = unbekanntes Modell
no-address = keine
list-holds = hat Liste Version { $n } von { $x }
list-unreported = hat keine Liste gemeldet; aktuell ist Version { $n }
installing = Installation
progress-of = { $x } von { $y }
progress-seconds = noch { $n } s
progress-minutes = noch { $n } min

## Home
home-title = Start
home-find = Maschine freigeben: Kopplungscode
home-continue = Weiter
home-typed = Eingegebene Codes
home-plan = Aufnahmeplan, Aufnahmefenster, abgelehnte Maschinen
home-steps = Die erste Stunde dieses Standorts
step-done = (erledigt)
step-open = (offen)
step-site = Standort anlegen
step-admin = Administrator anlegen
step-admin-how = Verwenden Sie den Einrichtungscode, den der Seed beim Start ausgegeben hat.
step-unseal = Seed entsiegeln
step-unseal-how = Ein versiegelter Seed liefert Bootdateien aus, gibt aber keine Maschine frei.
step-keys = SSH-Schlüssel eintragen
step-keys-how = Knoten haben keine Passwörter: Ohne öffentlichen Schlüssel in ssh.authorizedKeys der cluster.yaml können Sie sich auf installierten Knoten nicht anmelden.
step-snapshot = Paket-Snapshot bauen
step-snapshot-how = Daraus werden die Knoten gebaut, ohne Internet.
step-images = Images bauen
step-images-how = Das System, das Maschinen aus dem Netz booten, und je Rolle ein Artefakt.
step-boot = Eine Maschine aus dem Netz booten
step-boot-how = Verbinden Sie sie mit dem Boot-Netz und wählen Sie in der Firmware PXE- oder HTTP-Boot.
step-approve = Den ersten Knoten freigeben
step-approve-how = Geben Sie den Code von der Konsole der Maschine oben ein. Sobald ihre Rolle angewendet ist, wird sie zum Knoten.
step-pending = Wartende Maschinen anzeigen
home-needs = Zu erledigen
home-aside = Zurückgestellt
home-quiet = Nichts zu erledigen.
need-sealed = Der Seed ist versiegelt und kann keine Maschinen freigeben.
need-keys = cluster.yaml enthält keine SSH-Schlüssel (ssh.authorizedKeys): Auf installierten Knoten kann sich niemand anmelden.
need-waiting = { $n ->
    [one] 1 Maschine wartet auf Freigabe.
   *[other] { $n } Maschinen warten auf Freigabe.
}
need-waiting-since = { $n ->
    [one] 1 Maschine wartet auf Freigabe, gemeldet { $x }.
   *[other] { $n } Maschinen warten auf Freigabe, die erste gemeldet { $x }.
}
need-failed = { $n ->
    [one] 1 Maschine fehlgeschlagen: { $x }
   *[other] { $n } Maschinen fehlgeschlagen: { $x }
}
need-failed-silently = { $n ->
    [one] 1 Maschine ohne Angabe eines Grundes fehlgeschlagen
   *[other] { $n } Maschinen ohne Angabe eines Grundes fehlgeschlagen
}
need-silent = { $n ->
    [one] 1 Knoten stumm: { $x }
   *[other] { $n } Knoten stumm: { $x }
}
need-silent-more = { $n ->
    [one] 1 Knoten stumm: { $x } und { $more } weitere
   *[other] { $n } Knoten stumm: { $x } und { $more } weitere
}
need-unaware = { $x } gesperrt: { $n } von { $all } Knoten haben die Sperrung noch nicht erhalten.
need-no-snapshot = Es gibt keinen Paket-Snapshot: Nichts kann gebaut oder installiert werden.
need-proof-failed = Eine Offline-Installation aus dem Paket-Snapshot ist fehlgeschlagen.
need-unproven = Der Paket-Snapshot wurde noch nicht durch eine Offline-Installation geprüft.
need-certificates = { $n ->
    [one] Die Zertifikate von 1 Knoten laufen binnen eines Monats ab: { $x }
   *[other] Die Zertifikate von { $n } Knoten laufen binnen eines Monats ab: { $x }
}
need-capsule-old = Die neueste Kapsel des Standorts wurde { $x } exportiert.
need-no-capsule = Der Standort wurde nie exportiert: Ohne Kapsel lässt er sich auf keinem anderen Seed wiederherstellen.
go-approve = Freigeben
go-show = Anzeigen
go-export = Exportieren
job-by = gestartet von { $x } { $when }
home-events = Letzte Ereignisse
home-no-events = Noch keine Ereignisse.
col-when = Wann
col-machine = Maschine
col-event = Ereignis
col-kind = Art
event-by = durch { $x }
home-roles = Rollen
col-role = Rolle
col-artifact = Artefakt
col-min-disk = Mindestgröße
not-built = nicht gebaut
home-snapshot = Paket-Snapshot
home-no-snapshot = keiner veröffentlicht
home-epoch = Epoche { $n }
home-clock = Uhrzeit des Seeds
job-export = Kapsel wird exportiert
job-verify = Kapsel wird geprüft
job-import = Kapsel wird importiert
job-drill = Wiederherstellungsübung
job-build = Image wird gebaut
job-verify-output = Image wird geprüft
job-verify-log = Ereignisprotokoll wird geprüft
job-running = Läuft
job-done = Fertig
job-failed = Fehlgeschlagen
job-stopped = Angehalten
job-events = { $n } von { $x } Ereignissen
proof-unproven = ungeprüft
proof-proven = geprüft
proof-failed = fehlgeschlagen
typed-checking = { $x }: Die Maschine prüft den Code ({ $order })
typed-installs = { $x } wird installiert ({ $order })
typed-installed = { $x } ist installiert ({ $order })
typed-second = { $x }: Eine zweite Person muss zustimmen ({ $order })
typed-again = { $x } wartet wieder
typed-ended = { $x }: { $order }
typed-not-approved = { $x }: nicht freigegeben

## Machines
machines-title = Maschinen
machines-search = Suchen
machines-search-help = Wörter, oder <code>serial:</code> <code>role:</code> <code>state:</code> <code>mac:</code> <code>ip:</code> <code>label:</code> <code>name:</code> <code>place:</code> <code>model:</code> vor einem Wort; Anführungszeichen halten Wörter zusammen.
machines-add-labels = Labels hinzufügen
machines-remove-labels = Labels entfernen
machines-no-match = Keine Maschine passt zur Suche.
machines-show-all = Alle Maschinen anzeigen
machines-none = Bisher wurde keine Maschine erkannt. Verbinden Sie eine mit dem Boot-Netz und booten Sie sie von dort; sie erscheint hier mit ihrer ersten Anfrage.
machines-count = { $n ->
    [one] 1 Maschine
   *[other] { $n } Maschinen
}
machines-page = Seite { $n } von { $x }
machines-all = Alle
machines-select = Auswählen
machines-select-one = { $x } auswählen
machines-code = Code beginnt mit <code>{ $x }-</code>
col-state = Zustand
col-name = Name
col-model = Modell
col-serial = Seriennr.
col-address = Adresse
col-place = Einbauort und Labels
col-heard = Zuletzt gehört
place = Einbauort
bulk-title = Mit den ausgewählten Maschinen
bulk-approve = Freigeben …
bulk-deny = Ablehnen …
bulk-on = Einschalten
bulk-cycle = Aus- und einschalten …
bulk-off = Ausschalten …
bulk-labels = Labels
bulk-commas = durch Kommas getrennt

## A machine
silent-since = Der Knoten hat sich zuletzt { $x } gemeldet.
silent-check = Ein laufender Knoten meldet sich alle 30 Sekunden. Prüfen Sie Stromversorgung und Netz; mit der nächsten Meldung erscheint er wieder als „{ $x }“.
since = Seit
reason-is = Grund:
tries-again = Die Maschine versucht es von selbst erneut.
no-waiting = Abwarten hilft nicht.
rivals-head = { $n ->
    [one] Konflikt: 1 weitere Maschine beansprucht dieselbe Zeile des Plans.
   *[other] Konflikt: { $n } weitere Maschinen beanspruchen dieselbe Zeile des Plans.
}
rival-chosen = ihr Code wurde eingegeben
rival-code = Code
rivals-do = Geben Sie den Code der richtigen Maschine ein, oder lehnen Sie die anderen ab. Bis dahin gibt ein Klick keine von ihnen frei.
written = { $x } geschrieben und geprüft
mac-address = MAC-Adresse
boot-network = Boot-Netz
serial-number = Seriennummer
first-seen = Zuerst erkannt
power = Stromversorgung
power-controls = Ein- und Ausschalten, Boot-Gerät
peer-list = Peer-Liste
wrong-codes = Falsche Codes
diagnosis = Boot-Diagnose
verdict-denied = <strong>Abgelehnt</strong> von { $x } { $when }
verdict-cannot = Sie kann keine Aufnahme anfordern.
verdict-aside = <strong>Zurückgestellt</strong> von { $x } { $when },
verdict-until = bis { $x }.
verdict-allow = Wieder zulassen
verdict-list = Als wartend anzeigen
approve-may-not = Ein Operator oder Administrator kann diese Maschine freigeben.
approve-title = Diese Maschine freigeben
approve-was-wrong = <strong>Der letzte Code war falsch.</strong> Die Maschine zeigt einen neuen.
differs-head = Das ist nicht die Maschine aus dem Plan.
differs-plan = Angaben des Plans,
differs-do = Prüfen Sie die Maschine und korrigieren Sie den <a href="/plan">Plan</a>, oder füllen Sie das Formular selbst aus. Der Code allein genügt nicht.
filled-in = Vorausgefüllt,
code-is-enough = Ihr Code auf der <a href="/">Startseite</a> genügt.
against = So lässt sie sich nicht freigeben:
says-name = Name { $x }
says-role = Rolle { $x }
says-disk = Datenträger { $x }
click-approve = Wie geplant freigeben, ohne Code
click-trusts = Die Maschine hat ihren Code über das Boot-Netz gesendet: Damit vertrauen Sie diesem Netz.
approve-enter = Geben Sie den Code ein, den die Konsole der Maschine zeigt (Bildschirm oder serielle Schnittstelle)
approve-begins = er beginnt mit
approve-proves = Er beweist dem Seed, dass es diese Maschine ist, und der Maschine, dass Sie sie freigegeben haben.
pairing-code = Kopplungscode
host-name = Hostname
choose-role = Rolle wählen
role-not-built = noch kein Artefakt gebaut
role-disk = Datenträger ab { $x }
role-disk-smallest = Datenträger ab { $x }, der kleinste
role-disk-largest = Datenträger ab { $x }, der größte
disk = Datenträger
choose-disk = Datenträger wählen
disk-in-place = Die Maschine läuft bereits von diesem Datenträger. Er wird nicht beschrieben.
disk-erased = Alles auf diesem Datenträger wird gelöscht.
disk-removable = Wechseldatenträger
disk-part-of = Teil von { $x }
disk-multipath = derselbe Datenträger wie { $x } (Multipath)
disk-sectors = Sektoren von { $n } Bytes: Installation nicht möglich
disk-twin = von einem anderen Datenträger nicht zu unterscheiden: Installation nicht möglich
disk-rotating = HDD
disk-solid = SSD
disk-wwn = keine; WWN { $x }
disk-path = keine; angeschlossen an { $x }
approve-replace = Den Knoten ersetzen, der derzeit diesen Hostnamen hat (er wird gesperrt)
approve-do = Freigeben
approve-install = Freigeben und installieren
not-proven = Was der Code nicht beweist
not-proven-program = Er beweist nicht, welches Programm auf der Maschine läuft. Eine Maschine, die aus dem Netz bootet, prüft ihr initramfs und ihre Kommandozeile nicht: Ein Angreifer im selben Segment kann beides austauschen und einen eigenen Code anzeigen. Secure Boot deckt nur shim, GRUB, Kernel und Kernelmodule ab.
not-proven-medium = Verwenden Sie ein Segment, das Sie kontrollieren, oder starten Sie die Maschine von einem Aufnahmemedium: <code>seedd image build --target enroll-iso</code>. Es enthält den Agenten und den öffentlichen Schlüssel dieses Standorts; aus dem Netz kommen dann nur Daten, die gegen diesen Schlüssel geprüft werden.
not-now-or-deny = Zurückstellen oder ablehnen
not-now-for = Zurückstellen: nicht als wartend anzeigen für
for-hour = 1 Stunde
for-day = 1 Tag
for-days = { $n } Tage
not-now = Zurückstellen
deny-about = Eine Ablehnung bleibt gespeichert: Die Maschine kann erst wieder anfragen, wenn Sie sie zulassen.
reason = Grund
reason-recorded = (wird im Ereignisprotokoll vermerkt)
deny = Ablehnen
deny-all-from = Alle von { $x } ablehnen
deny-all-here = Alle von dieser Adresse ablehnen
claim-node = Andere, die die MAC-Adresse dieses Knotens angeben
claim-several = Mehrere Maschinen geben diese MAC-Adresse an
claim-about = Eine MAC-Adresse kann jeder Host angeben. Geben Sie nur die Maschine frei, deren Konsole den Code zeigt.
claim-node-safe = Der Knoten selbst ist nicht betroffen.
claim-waiting = Warten auf Freigabe
col-code = Code beginnt mit
col-since = Seit
col-action = Aktion
col-size = Größe
col-driver = Treiber
col-link = Link
replace-title = Diesen Knoten ersetzen
voters = Ohne diesen Knoten sind { $n } von { $x } Mitgliedern von etcd intakt:
voters-majority = Der Cluster behält seine Mehrheit.
voters-none = weniger als die Mehrheit. Bringen Sie zuerst ein anderes Mitglied zurück.
replace-restart = Starten Sie die Maschine aus dem Netz neu (Ein- und Ausschalten unter <code>{ $x }</code>), oder schließen Sie eine andere Maschine an.
replace-approve = Sie erscheint unter den Maschinen und zeigt einen Code auf der Konsole. Geben Sie sie unter dem Namen <code>{ $x }</code> frei und wählen Sie dabei <em>Den Knoten ersetzen, der derzeit diesen Hostnamen hat</em>. Damit werden die Schlüssel des alten Knotens gesperrt; der neue erhält dieselben Adressen.
replace-joins = Sie wird installiert, tritt den Ebenen bei und führt ihre Plays aus. Ein Mitglied von etcd nimmt den Platz seines Vorgängers ein. Die Seite <a href="/platform">Plattform</a> zeigt, wann es intakt ist.
replace-command = <code>seedd node replace { $x }</code> erledigt den ersten Schritt und meldet die Dauer jedes Schritts.
revoke-node = Diesen Knoten sperren …
forget-machine = Diese Maschine vergessen …
place-example = Halle 2, Rack 7, HE 12
save = Speichern
timeline = Verlauf
packets = { $n ->
    [one] Das letzte Paket herunterladen
   *[other] Die letzten { $n } Pakete herunterladen
}
packets-for = für Wireshark
with-errors = mit Fehlern
events-count = { $n ->
    [one] 1 Ereignis
   *[other] { $n } Ereignisse
}
phase-boot = Booten aus dem Netz
phase-pairing = Kopplung
phase-install = Installation
phase-join = Start vom Datenträger und Verbindung
phase-role = Rolle
phase-operation = Betrieb
hardware = Hardware
hardware-by = Angaben der Maschine.
hardware-none = Der Agent hat sich noch nicht gemeldet.
disks = Datenträger
disks-more = { $n ->
    [one] 1 weiterer Datenträger ist nicht aufgeführt.
   *[other] { $n } weitere Datenträger sind nicht aufgeführt.
}
interfaces = Netzwerkschnittstellen
link-up = aktiv
link-down = inaktiv
link-speed = aktiv, { $n } Mbit/s
earlier = Frühere Aufnahmen
unknown = unbekannt
fact-vendor = Hersteller
fact-product = Produkt
fact-uuid = SMBIOS-UUID
fact-firmware = Firmware
fact-processor = Prozessor
fact-memory = Arbeitsspeicher
fact-booted = Gebootet von
fact-kernel = Kernel
firmware-of = { $x } vom { $when }
firmware-old = , älter als die Korrekturen bekannter Schwachstellen ihres Netzwerk-Stacks (PixieFail); bitte Firmware aktualisieren
first-approved = <strong>{ $x } hat diese Maschine freigegeben</strong>
first-as = als <code>{ $x }</code>
first-replaces = anstelle des Knotens dieses Namens
first-second = Eine zweite Person muss zustimmen.
first-you = Das waren Sie: Ein anderer Operator oder Administrator muss zustimmen. Um die Entscheidung zu ändern, geben Sie den Code unten erneut ein.
first-otherwise = Um anders zu entscheiden, geben Sie den Code unten ein; Ihre Entscheidung braucht dann eine zweite Person.
agree = Zustimmen
agree-install = Zustimmen und installieren

## Unseal
unseal-about = Die Schlüssel des Standorts sind mit seiner Passphrase verschlüsselt. Beim Entsiegeln werden sie in den Arbeitsspeicher entschlüsselt, bis der Daemon endet. Das dauert einige Sekunden.
unseal-may-not = Ein Administrator kann den Seed entsiegeln.

## Approve many
many-title = Maschinen freigeben
many-none = Keine dieser Maschinen wartet auf Freigabe.
many-all = Alle Maschinen dieser Liste sind freigegeben.
many-about = Geben Sie einen Code ein und drücken Sie die Eingabetaste: Die Maschine, die ihn zeigt, wird mit den Werten ihrer Zeile freigegeben und verlässt die Liste. Der Datenträger jeder Maschine wird gelöscht, außer bei Aufnahme des laufenden Systems.
many-next = Nächster Kopplungscode
many-count = { $n ->
    [one] 1 Maschine wartet in dieser Liste
   *[other] { $n } Maschinen warten in dieser Liste
}
many-more = { $n ->
    [one] 1 weitere wartet
   *[other] { $n } weitere warten
}
many-aside = { $n } zurückgestellt
many-serial = Seriennr. { $x }
many-since = gemeldet { $x }
many-code-of = Kopplungscode von { $x }
many-name-of = Hostname von { $x }
many-role-of = Rolle von { $x }
many-disk-of = Datenträger von { $x }
many-in-place = laufendes System: Es wird nichts geschrieben
many-fill-title = Alle Zeilen ausfüllen
many-pattern = Namen nach Muster
many-pattern-help = <code>{"{n}"}</code> ist eine freie Nummer; <code>{"{serial}"}</code>, <code>{"{mac}"}</code> und <code>{"{place}"}</code> kommen von der Maschine
many-as-row = Wie in jeder Zeile
many-fill = Ausfüllen
many-gone = Maschine { $n } wartet nicht mehr

## Confirmations
confirm-type = Geben Sie zur Bestätigung <code>{ $x }</code> ein
revoke-title = Knoten sperren
revoke = Sperren
revoke-keys = Seine Schlüssel werden aus der Peer-Liste entfernt. Die anderen Knoten kommunizieren nicht mehr mit ihm, sobald sie die neue Liste haben, in der Regel innerhalb von 30 Sekunden.
revoke-role = Seine Rolle { $x } hat einen Knoten weniger; was auf ihm läuft, ist über die Ebenen nicht mehr erreichbar.
revoke-disk = Sein Datenträger wird nicht gelöscht. Die Maschine kann aus dem Netz mit neuen Schlüsseln erneut installiert werden; ihr Name behält seine Adressen.
forget-title = Maschine vergessen
forget = Vergessen
forget-lost = Ihre nicht freigegebenen Anfragen, ihre Labels und ihr Einbauort werden gelöscht. Ihre Ereignisse bleiben im Protokoll.
forget-returns = Sie erscheint wieder in der Liste, sobald sie im Netz erkannt wird.
power-off = Ausschalten
power-off-lost = Die Maschine wird sofort ausgeschaltet, als würde der Stecker gezogen. Was auf ihr läuft, endet; was nicht auf den Datenträger geschrieben ist, geht verloren.
power-cycle = Aus- und einschalten
power-cycle-lost = Die Maschine wird sofort aus- und wieder eingeschaltet. Was auf ihr läuft, endet; was nicht auf den Datenträger geschrieben ist, geht verloren.
votes-majority = Der Knoten ist in etcd stimmberechtigt. Ohne ihn sind { $n } von { $x } Mitgliedern intakt: Der Cluster behält seine Mehrheit.
votes-none = Der Knoten ist in etcd stimmberechtigt. Ohne ihn sind { $n } von { $x } Mitgliedern intakt: Der Cluster verliert seine Mehrheit und schreibt nicht mehr.
bulk-type = Geben Sie { $n } ein, die Anzahl der Maschinen
bulk-deny-lost = Jede Maschine wird abgewiesen, bis sie wieder zugelassen wird.
bulk-off-lost = Jede Maschine wird sofort ausgeschaltet, als würde der Stecker gezogen. Was auf ihr läuft, endet; was nicht auf den Datenträger geschrieben ist, geht verloren.
bulk-cycle-lost = Jede Maschine wird sofort aus- und wieder eingeschaltet. Was auf ihr läuft, endet; was nicht auf den Datenträger geschrieben ist, geht verloren.
bulk-all-done = { $n ->
    [one] Für 1 Maschine erledigt.
   *[other] Für alle { $n } Maschinen erledigt.
}
bulk-failed = Bei { $n } von { $x } Maschinen fehlgeschlagen.
bulk-results = Ergebnisse
bulk-result = Ergebnis
bulk-back = Zurück zu den Maschinen

## Power
power-of = Stromversorgung von { $x }
power-at = unter <code>{ $x }</code>
power-as = als <code>{ $x }</code>
power-refresh = Status aktualisieren
power-pxe = Beim nächsten Start aus dem Netz booten
power-insert = { $x } einlegen
power-eject = Medium auswerfen
power-immediately = Diese Aktionen wirken sofort, unabhängig davon, was die Maschine gerade tut:
power-none = Für diese Maschine ist kein Management-Controller eingerichtet.
power-wake = Wake-on-LAN-Paket an <code>{ $x }</code> senden
power-certificate = Zertifikat
power-confirmed = Sie haben dieses Zertifikat des Controllers bestätigt. Ein anderes wird abgelehnt, und es wird kein Passwort an den Controller gesendet.
power-weak = Dieses Zertifikat ist schwach:
power-unconfirmed = Noch nicht bestätigt. Solange Sie das Zertifikat des Controllers nicht bestätigt haben, wird kein Passwort an ihn gesendet.
power-another = Der Controller zeigt jetzt ein anderes Zertifikat. Entweder wurde es ersetzt, oder die Verbindung wird abgefangen.
power-shows = Der Controller zeigt dieses Zertifikat.
power-compare = Vergleichen Sie seinen SHA-256-Fingerabdruck mit dem auf der Seite oder Konsole des Controllers:
power-trust = Beide stimmen überein: Zertifikat bestätigen
power-read = Zertifikat des Controllers lesen
power-delete = Diesen Controller und sein Passwort löschen
power-change = Controller oder Passwort ändern
power-controller = Management-Controller
power-vault = Das Passwort wird sofort verschlüsselt und im Tresor des Standorts gespeichert. Der Seed kann es nur entsiegelt verwenden, und keine Seite zeigt es je an.
power-protocol = Protokoll
power-cipher = Cipher-Suite (IPMI)
power-automatic = automatisch
power-cipher-old = 3 (ältere Controller)
power-cipher-new = 17 (neuere Controller)
power-privilege = Berechtigung (IPMI)
power-administrator = Administrator
power-operator = Operator
power-user = Benutzer
power-may-not = Ein Operator oder Administrator kann diese Maschine ein- und ausschalten.

## Clock
clock-about = Die Knoten übernehmen die Zeit des Seeds. Signaturen, Leases und Sitzungen funktionieren auch mit falscher Uhrzeit, aber die Zeitstempel in Logs wären ebenfalls falsch.
clock-now = Aktuelle Zeit
clock-source = Quelle
clock-offset = Abweichung
clock-drift = Drift
clock-synchronised = Die Uhr ist mit einem Zeitserver synchronisiert und kann hier nicht gestellt werden.
clock-time = Zeit (UTC)
clock-set = Uhr stellen
clock-browser = Zeit dieses Browsers verwenden

## Jobs
jobs-none = Seit dem Start des Seeds lief kein Auftrag. Aufträge werden dort gestartet, wo ihre Ergebnisse sind: Kapseln und Übungen unter <a href="/site">Standort</a>, Images unter <a href="/images">Images</a>.
jobs-none-audit = Die Prüfung des Ereignisprotokolls finden Sie unter <a href="/audit">Protokoll</a>.
jobs-left = noch etwa { $x }
jobs-stop = Anhalten
jobs-stop-one = Auftrag { $n } anhalten
jobs-number = Auftrag { $n }
jobs-ended = beendet
jobs-after = nach { $x }
jobs-running = läuft seit { $x }
jobs-steps = Schritte von Auftrag { $n }
jobs-about = Ein Seed führt jeweils einen Auftrag aus und behält die letzten zwanzig bis zum Neustart.

## Packages
snapshot = Snapshot
snapshots = Snapshots
snapshots-proven = geprüft, wenn sich jede Rolle offline allein aus dem Snapshot installieren lässt
snapshots-none = Keine. Bauen Sie einen mit <code>seedd darksite build</code>.
suite = Suite
proof = Prüfung
offline = Offline installiert
in-use = in Verwendung
snapshot-maker = gebaut mit Standortschlüssel <code>{ $x }</code>
snapshot-untested = nicht geprüft; führen Sie <code>seedd darksite prove</code> aus
damaged = Beschädigte Snapshots
damaged-one = Snapshot <code>{ $x }</code> ist beschädigt und wird nicht ausgeliefert:
damaged-do = Löschen Sie ihn und bauen oder importieren Sie ihn erneut.
extras = Extras
extras-pinned = in cluster.yaml festgelegt
extras-none = Keine. Tragen Sie sie in cluster.yaml unter <code>extras</code> ein und führen Sie <code>seedd darksite extras fetch</code> aus.
upstream = Signatur des Herstellers
upstream-none = keine, über den Digest festgelegt

## DHCP
dhcp-networks = Netze
dhcp-network = Netz
dhcp-pool = Pool
dhcp-used = Belegt
dhcp-mode = Modus
dhcp-used-of = Belegte Adressen von { $x }
dhcp-of = { $n } von { $x }
dhcp-short = Fast alle Adressen sind belegt: Erweitern Sie den Pool in <a href="/settings">cluster.yaml</a>.
dhcp-range = { $x } bis { $y }
dhcp-no-pool = kein Pool
dhcp-full = Adressen aus den Pools, für jede Maschine
dhcp-reservation = Adressen nur für Reservierungen
dhcp-proxy = nur Bootdateien, neben einem anderen DHCP-Server
dhcp-auto = Adressen, solange kein anderer DHCP-Server antwortet, sonst nur Bootdateien
dhcp-others = Andere DHCP-Server
dhcp-others-heard = im Segment gehört
dhcp-server = Server
dhcp-times = Anzahl
dhcp-did = Letzte Aktion
dhcp-no-others = In letzter Zeit wurde kein anderer DHCP-Server gehört.
dhcp-search = Leases suchen
dhcp-search-for = Adresse, MAC-Adresse oder Name
dhcp-leases = Leases
dhcp-lease = Lease
dhcp-current = { $n } aktuell
dhcp-match = { $n } von { $x } passen
dhcp-no-leases = Keine Maschine hat eine Lease. Verbinden Sie eine mit dem Boot-Netz und lassen Sie sie aus dem Netz booten.
dhcp-no-match = Keine Lease passt zur Suche.
dhcp-ends = Endet in
dhcp-reserved = reserviert
dhcp-reservations = Reservierungen
dhcp-reservations-in = festgelegt in <a href="/settings">cluster.yaml</a>
dhcp-no-reservations = Keine. Mit einer Reservierung erhält eine Maschine immer dieselbe Adresse.
dhcp-leased = vergeben
dhcp-not-leased = nicht vergeben

## Audit log
audit-title = Ereignisprotokoll
audit-kept = Die Ereignisse { $n } bis { $x } sind gespeichert und über SHA-256 verkettet.
audit-covered = { $n ->
    [one] Der signierte Checkpoint umfasst die Ereignisse bis
   *[other] Der neueste von { $n } signierten Checkpoints umfasst die Ereignisse bis
}
audit-no-checkpoint = Es gibt noch keinen signierten Checkpoint: Solange der Seed entsiegelt ist, wird jede Stunde einer signiert.
audit-verify = Kette prüfen
audit-sign = Checkpoint signieren
audit-search = Ereignisse suchen
audit-words = Wörter
audit-who = Wer
audit-machine-help = Hostname oder MAC-Adresse
audit-since = Von (UTC)
audit-until = Bis (UTC)
audit-follow = Laufend aktualisieren
audit-unfollow = Nicht mehr aktualisieren
audit-jsonl = Als JSON Lines exportieren
audit-syslog = Für syslog exportieren
audit-clear = Suche zurücksetzen
audit-events = Ereignisse
audit-newest-first = die neuesten zuerst
audit-none-so-far = Bisher nichts gefunden.
audit-no-match = Kein Ereignis passt zur Suche.
audit-time = Zeit
audit-what = Was geschehen ist
audit-text = Text
audit-searched = { $n ->
    [one] 1 Ereignis wurde durchsucht, zurück bis Ereignis { $x }.
   *[other] { $n } Ereignisse wurden durchsucht, zurück bis Ereignis { $x }.
}
audit-newest = Neueste
audit-older = Ältere Ereignisse
audit-search-older = Ältere Ereignisse durchsuchen

## One event
audit-event = Ereignis { $n }
audit-machine = Maschine { $n }
audit-its-events = ihre Ereignisse
audit-enrollment = Aufnahme
audit-facts = Angaben, wie sie gehasht wurden
audit-hash = Hash
audit-hash-before = Vorheriger Hash
audit-first = keiner: Dies ist das erste Ereignis
audit-checkpoint = Checkpoint
audit-signed = signiert
audit-signed-over = über die Ereignisse bis { $n }, Hash
audit-uncovered = noch von keinem signierten Checkpoint erfasst
audit-event-before = Vorheriges Ereignis
audit-event-after = Nächstes Ereignis

## Settings
settings-about = Eine einzige Datei beschreibt den Standort: cluster.yaml. Eine Änderung wird zuerst geprüft und verglichen. Sobald sie übernommen ist, liest der laufende Seed die Datei neu ein; er bleibt dabei entsiegelt. Die bisherige Datei bleibt als cluster.yaml.former erhalten.
settings-overlaid = An diesem Ort gelten andere Werte für das Boot-Netz: siehe <a href="/site">Standort</a>.
settings-refused = Die Datei wird abgelehnt
settings-line = Zeile { $n }, Spalte { $x }
settings-unchanged = Die Datei ist gültig und unverändert.
settings-changes = Was sich ändert
settings-numbers = Zeilennummern der neuen Datei
settings-number = Zeile
settings-change = Änderung
settings-text = Text
settings-removed = entfernt
settings-added = hinzugefügt
settings-left-out = Zeilen ausgelassen
settings-nodes = Folgen für die Knoten
settings-apply = Diese Änderungen übernehmen
settings-edited = bearbeitet, nicht übernommen
settings-check = Prüfen und vergleichen
settings-discard = Änderungen verwerfen
settings-lines = Die Datei mit Zeilennummern
settings-lines-edited = Die bearbeitete Datei mit Zeilennummern

## Documentation
docs-about = Die Dokumente von Kubedos { $x } auf Englisch, in der Fassung dieses Builds. Sie sind auch ohne Netz verfügbar.
docs-running = Einen Standort betreiben
docs-reference = Referenz
docs-plays = Plays der Plattform
docs-background = Hintergrund
docs-decisions = Entscheidungen
docs-sections = Abschnitte dieses Kapitels

## Join tokens
join-token-title = Join-Token
join-token-about = Eine Maschine mit einem Join-Token wird ohne Code zum Knoten. Token werden auf dem Seed erstellt und gesperrt: <code>seedd token</code>.
join-token-agree-about = Maschinen dieser Rollen müssen von zwei Personen freigegeben werden. <strong>Stimmen Sie nur einem Token zu, das Sie erwarten</strong>: Es macht ohne weitere Rückfrage so viele Maschinen zu Knoten, wie es Verwendungen hat. Bis dahin warten Maschinen mit diesem Token.
join-token-list = Token
join-token-waiting = { $n ->
    [one] 1 wartet auf eine zweite Person
   *[other] { $n } warten auf eine zweite Person
}
join-token-none = Keine.
join-token-one = Token
join-token-names = Namen
join-token-used = Verwendet
join-token-uses = { $n } von { $x }
join-token-until = Gültig bis
join-token-created = Erstellt
join-token-in-image = im Image { $x }
join-token-agreed = Zustimmung von { $x }
join-token-agree = Join-Token { $x } zustimmen
join-token-valid = Gültig
join-token-waits = Wartet auf eine zweite Person
join-token-ended = nicht mehr gültig

## Countersigning
countersign-title = Gegenzeichnung
countersign-problem = Problem
countersign-about = Knoten nehmen einen neuen Knoten nur mit einer Signatur des Schlüssels an, der nicht auf diesem Seed liegt. So kann ein gestohlener Seed keinen hinzufügen. Zum Entfernen eines Knotens ist keine Signatur nötig.
countersign-key = Schlüssel
countersign-checked = Von den Knoten geprüft
countersign-yes = ja
countersign-no = nein
countersign-not-yet = noch nicht: Zuerst braucht jeder Knoten in der Liste unten eine Signatur
countersign-next = Nächster Schlüssel
countersign-next-about = Er gilt, sobald er jeden Knoten in der Liste unten signiert hat.
countersign-waiting = Warten auf eine Signatur
countersign-count = { $n ->
    [one] 1 Knoten
   *[other] { $n } Knoten
}
countersign-none = Keine. Ein Knoten erscheint hier, nachdem seine Maschine freigegeben wurde.
countersign-fingerprint = Fingerabdruck
countersign-listed = In der Peer-Liste
countersign-more = { $n ->
    [one] Dazu kommt 1 weiterer; auch er ist in der Signaturanforderung enthalten.
   *[other] Dazu kommen { $n } weitere; auch sie sind in der Signaturanforderung enthalten.
}
countersign-out = 1. Signaturanforderung zum Offline-Rechner bringen
countersign-download = Signaturanforderung herunterladen
countersign-there = Dort: <code>seedd countersign sign countersign-request.json --key DATEI</code>. Der Befehl zeigt Name, Rolle und Fingerabdruck jedes Knotens; die Konsole der Maschine zeigt denselben Fingerabdruck.
countersign-answer = Antwort einlesen
countersign-in = 2. Antwort zurückbringen
countersign-file = Die dort geschriebene Datei
countersign-text = oder ihr Inhalt
countersign-import = Signaturen importieren
countersign-may-not = Ein Operator oder Administrator kann Signaturen importieren.
countersign-unset = Dieser Standort hat keinen Schlüssel zum Gegenzeichnen: Eine freigegebene Maschine kommt sofort in die Peer-Liste. Mit einem Schlüssel, der nicht auf dem Seed liegt, kann ein gestohlener Seed keine Knoten hinzufügen. <a href="/docs/countersigning">So richten Sie ihn ein</a>
## People
people-title = Benutzerkonten
people-you = Sie sind <b>{ $x }</b>. Ihre Rechte: { $rights }.
people-password-changed = Ihr Passwort wurde geändert. Alle Ihre anderen Sitzungen wurden beendet.
people-token = API-Token { $x }
people-copy-now = Kopieren Sie es jetzt: Es wird nicht noch einmal angezeigt.
people-send-as = Senden Sie es als <code>Authorization: Bearer …</code>. Wer es hat, kann alles tun, was seine Berechtigungen erlauben, bis es abläuft oder gesperrt wird.
people-passkey = Passkey { $x }
people-passkey-go = Fahren Sie mit Ihrem Authentifikator fort: einem Sicherheitsschlüssel, einem Smartphone oder diesem Gerät.
people-passkey-create = Passkey anlegen
people-passkey-script = Passkeys erfordern JavaScript.
people-no-answer = Der Seed hat nicht geantwortet.
people-sessions = Ihre Sitzungen
people-sessions-all = Sitzungen aller Benutzer
people-user = Benutzer
people-browser = Browser
people-began = Angemeldet
people-used = Zuletzt verwendet
people-never = nie
people-this-session = diese Sitzung
people-end = Beenden
people-end-one = Sitzung von { $x } unter { $address } beenden, verwendet { $used }
people-end-others = Alle meine anderen Sitzungen beenden
people-tokens = Ihre API-Token
people-tokens-all = API-Token aller Benutzer
people-tokens-none = Keine. Mit einem Token kann ein Programm die API verwenden.
people-begins = Beginnt mit
people-scopes = Berechtigungen
people-expires = Läuft ab
people-expired = abgelaufen
people-revoke-one = Token { $x } von { $user } sperren
people-passkeys = Ihre Passkeys
people-passkeys-all = Passkeys aller Benutzer
people-passkeys-about = Anmeldung ohne Passwort, unter dem Namen des Seeds
people-passkeys-none = Keine.
people-added = Hinzugefügt
people-remove = Entfernen
people-remove-one = Passkey { $x } von { $user } entfernen
people-passkey-add = Passkey hinzufügen: Name
people-passkey-example = Laptop
people-token-create = API-Token anlegen
people-token-about = Für ein Programm, mit einem Teil Ihrer Rechte. Was sich nicht rückgängig machen lässt, ist damit nicht möglich: Melden Sie sich dafür an.
people-token-days = Gültigkeit (in Tagen, höchstens { $n })
people-token-submit = Token anlegen
people-password-change = Ihr Passwort ändern
people-password-about = Damit enden alle Ihre anderen Sitzungen. API-Token bleiben gültig.
people-password-old = Aktuelles Passwort
people-password-new = Neues Passwort
people-password-repeat = Neues Passwort wiederholen
people-password-submit = Passwort ändern
people-users = Benutzer
people-rights = Rechte
people-rights-of = Rechte von { $x }
people-rights-save = Rechte von { $x } speichern
people-own = Sie
people-disabled = deaktiviert
people-enable = Aktivieren
people-enable-one = { $x } aktivieren
people-disable = Deaktivieren
people-disable-one = { $x } deaktivieren
people-remove-user = { $x } entfernen
people-remove-lost = Damit enden die Sitzungen, und die API-Token werden gesperrt. Das Ereignisprotokoll behält den Namen.
people-remove-confirm = Geben Sie zur Bestätigung <b>{ $x }</b> ein
people-add = Benutzer hinzufügen
people-viewer = sieht Maschinen, Ereignisse und Pakete
people-auditor = sieht auch, wer was getan hat: Benutzer, Sitzungen, Protokoll
people-operator = arbeitet mit Maschinen: Freigabe, Stromversorgung, Plays, Images
people-administrator = darf alles, auch Benutzer, den Standort und seine Schlüssel verwalten
people-repeat = Passwort wiederholen
people-add-submit = Benutzer hinzufügen

## Site and recovery
site-head = Standort und Wiederherstellung
site-this = Dieser Seed
site-mode-active = aktiv: gibt Maschinen frei und stellt Identitäten aus
site-mode-standby = Standby: liefert nur diese Seiten aus, bis er aktiviert wird
site-mode-fenced = abgelöst: Ein anderer Seed dieses Standorts wurde aktiviert
site-key = Standortschlüssel
site-recipient = Empfänger
site-medium = Medium
site-underlay = Underlay
site-seed-at = Seed { $x }
site-overrides = hat Vorrang vor cluster.yaml
site-seal = Versiegeln: private Schlüssel vergessen
site-promote = Diesen Seed aktivieren
site-promote-about = Tun Sie dies erst, wenn der andere Seed endgültig abgeschaltet ist: Zwei aktive Seeds würden widersprüchliche Identitäten ausstellen. Die Aktivierung erhöht die Epoche um eins; Knoten und Peers weisen die ältere Epoche ab.
site-promote-confirm = Geben Sie zur Bestätigung den Namen des Standorts ein: <b>{ $x }</b>
site-export = Eine Kapsel exportieren
site-export-about = Eine signierte Datei mit dem vollständigen Standort, verschlüsselt für einen anderen Seed. Den Empfänger zeigt der andere Seed auf seiner Seite „Standort“.
site-recipient-other = Empfänger des anderen Seeds
site-since = Inkrementell zu
site-since-none = nichts: eine vollständige Kapsel
site-same-medium = Blobs weglassen, die schon auf dem Seed-Medium sind (der andere Seed muss von demselben booten)
site-split = Aufteilen
site-split-no = nein, eine einzige Datei
site-split-cd = in Teile von 650 MiB (CD)
site-split-fat = in Teile von 4000 MiB (FAT32)
site-split-disc = in Teile von 23 GiB (Blu-ray)
site-export-submit = Kapsel exportieren
site-import = Eine Kapsel importieren
site-import-about = Vor dem Import werden alle Signaturen und Digests geprüft. Dieser Seed wird zum Standby.
site-upload = Kapsel hochladen (oder alle ihre Teile)
site-upload-script = Ohne JavaScript: <code>PUT /api/v1/capsules/NAME?at=0&amp;total=SIZE</code>, siehe docs/second-site.md.
site-upload-other = { $x }: Der Seed hat bereits eine andere Datei dieses Namens; löschen Sie sie zuerst
site-upload-status = Antwort des Seeds: { $x }
site-upload-silent = { $x }: Der Seed antwortet nicht; wählen Sie die Datei erneut, um fortzufahren
site-upload-retry = { $x }: neuer Versuch
site-upload-done = { $x } hochgeladen
site-file = Kapsel oder erster Teil
site-pin = Standortschlüssel des exportierenden Seeds
site-pin-form = 64 Hexadezimalziffern
site-import-passphrase = Passphrase des Standorts auf diesem Seed
site-take-place = Auch das Underlay importieren (sonst behält dieser Seed { $x })
site-import-submit = Importieren
site-verify = Nur prüfen
site-capsules = Kapseln auf diesem Seed
site-free = { $x } frei
site-no-capsules = Keine.
site-modified = Geändert
site-uploaded = { $n } % hochgeladen
site-delete = Löschen
site-delete-one = { $x } löschen
site-place = Underlay-Netz
site-place-about = Verlegt diesen Standort in ein anderes Subnetz. Ebenen und Namen bleiben gleich. Alle Leases werden zurückgesetzt, und Maschinen erreichen den Seed unter seiner neuen Adresse.
site-subnet = Subnetz
site-address = Adresse dieses Seeds
site-first = Erste Adresse für Maschinen
site-last = Letzte Adresse für Maschinen
site-router = Router (optional)
site-move = Underlay ändern
site-reset = Auf cluster.yaml zurücksetzen
site-drill-about = Stellt den Standort aus seiner Kapsel in einem isolierten Netz mit einem Ersatzknoten wieder her und vergleicht die Dauer mit <code>acceptance.mttrTargetMinutes</code>.
site-drill-start = Übung starten

## Listings of files
listing-count = { $n ->
    [one] 1 Eintrag
   *[other] { $n } Einträge
}
listing-cut = gekürzt
listing-bytes = Bytes
listing-modified = Geändert (UTC)
## Plan
plan-about-click = Der Plan legt fest, welche Maschine welcher Knoten wird. Eine geplante Maschine braucht nur einen Klick: Sie sendet ihren Code über das Boot-Netz, dem dieser Standort vertraut. Alles andere wird abgelehnt oder nachgefragt.
plan-about-code = Der Plan legt fest, welche Maschine welcher Knoten wird. Für eine geplante Maschine genügt der Code von ihrer Konsole, eingegeben auf der <a href="/">Startseite</a>. Alles andere wird abgelehnt oder nachgefragt.
plan-tokens = Join-Token
plan-dry-run = Probelauf
plan-dry-kept = Probelauf: Es wurde nichts gespeichert.
plan-dry-good = { $n ->
    [one] Der Text unten hat 1 Zeile ohne Widersprüche.
   *[other] Der Text unten hat { $n } Zeilen ohne Widersprüche.
}
plan-dry-bad = Der Text unten enthält Widersprüche.
plan-problems = Widersprüche
plan-line = Zeile
plan-problem = Problem
plan-to-do = Was zu tun ist
plan-all-lines = alle
plan-conflicts = Konflikte
plan-conflicts-about = <strong>Mehrere Maschinen beanspruchen dieselbe Zeile des Plans.</strong> Seriennummer und MAC-Adresse kann jeder Host angeben. Geben Sie auf der <a href="/">Startseite</a> den Code von der Konsole der richtigen Maschine ein, oder lehnen Sie die falschen ab. Bis dahin gibt ein Klick keine von ihnen frei.
plan-typed = Code eingegeben
plan-deny-one = Maschine unter { $x } ablehnen, Code
plan-waiting = Geplant und wartend
plan-aside = zurückgestellt
plan-none-waiting = Keine. Eine Maschine des Plans erscheint hier, sobald ihr Agent läuft.
plan-role-disk = Rolle und Datenträger
plan-not-planned = Nicht die geplante Maschine.
plan-code-refused = Der Code allein genügt nicht.
plan-type = Geben Sie ihren Code auf der <a href="/">Startseite</a> ein: <code>{ $x }</code>
plan-others = Wartend, nicht im Plan
plan-none = Keine.
plan-no-serial = keine
plan-rule = Regel
plan-rows = Zeilen
plan-the-plan = Der Plan
plan-count = { $n ->
    [one] 1 Zeile:
   *[other] { $n } Zeilen:
}
plan-count-conflict = { $n } im Konflikt
plan-count-waiting = { $n } wartend
plan-count-unseen = { $n } nicht erkannt
plan-count-nodes = { $n ->
    [one] 1 bereits Knoten
   *[other] { $n } bereits Knoten
}
plan-empty = Es gibt keinen Plan. Fügen Sie unten einen ein.
plan-all-wait = Alle seine Maschinen warten.
plan-at-line = Zeile { $n }
plan-node = Knoten
plan-unseen = Nicht erkannt
plan-remove = Entfernen
plan-remove-one = { $x } aus dem Plan entfernen
plan-pages = Seiten des Plans
plan-previous = Vorherige
plan-next = Nächste
plan-change = Plan ändern
plan-format = CSV mit Kopfzeile oder YAML. Erforderlich sind <code>serial</code> oder <code>mac</code>, <code>name</code> und <code>role</code>; <code>disk</code> ist <code>only</code>, <code>smallest</code>, <code>largest</code>, <code>serial:NUMMER</code> oder ein Name wie <code>nvme0n1</code>.
plan-file = oder eine Datei
plan-file-instead = (ersetzt den Text)
plan-check = Prüfen, ohne zu speichern
plan-add = Diese Zeilen hinzufügen
plan-set = Plan ersetzen
plan-remove-whole = Ganzen Plan entfernen
plan-remove-about = { $n ->
    [one] Seine einzige Zeile wird entfernt. Knoten bleiben, wie sie sind; wartende Maschinen brauchen wieder das ganze Formular.
   *[other] Seine { $n } Zeilen werden entfernt. Knoten bleiben, wie sie sind; wartende Maschinen brauchen wieder das ganze Formular.
}
plan-remove-all = Plan entfernen
plan-may-not = Ein Operator oder Administrator kann den Plan und das Aufnahmefenster ändern.
window-title = Aufnahmefenster
window-is-open = Offen
window-until = bis { $when }, geöffnet von { $x }. Unbekannte Maschinen dürfen die Aufnahme anfordern.
window-is-closed = Geschlossen
window-closed-about = Unbekannte Maschinen werden erkannt, können aber keine Aufnahme anfordern. Geplante Maschinen, Knoten und Maschinen mit einem Join-Token können es.
window-for = Öffnen für
window-hours = { $n } Stunden
window-extend = Verlängern
window-open = Öffnen
window-close = Jetzt schließen
window-always = Immer offen
window-always-about = Jede Maschine darf die Aufnahme anfordern, und keine wird ohne Freigabe aufgenommen. <code>enrollment.window: manual</code> in cluster.yaml schließt das Fenster für unbekannte Maschinen.
plan-verdicts = Abgelehnt und zurückgestellt
plan-verdicts-about = Maschinen, die nicht als wartend angezeigt werden
plan-said = Entscheidung
plan-by = Von
plan-not-now = Zurückgestellt
plan-until = bis { $x }
plan-allow = Zulassen
plan-allow-one = { $x } zulassen
plan-countersign = <a href="/countersign">Gegenzeichnung</a>: Ein Schlüssel, der nicht auf dem Seed liegt, signiert jeden neuen Knoten.

## Platform
platform-payload = Payload
platform-runs = Die Knoten verwenden die Payload
platform-order = , eine Rolle nach der anderen.
platform-order-paused = , eine Rolle nach der anderen; Änderungen sind pausiert.
platform-no-payload = Es ist keine Payload veröffentlicht: Rollen mit Plays warten. <code>seedd payload publish</code> veröffentlicht eine.
platform-check = Auf Abweichungen prüfen
platform-run-all = Überall erneut ausführen
platform-pause = Pausieren
platform-resume = Fortsetzen
platform-paused = pausiert
platform-no-plays = keine Plays
platform-plays = führt { $x } aus
platform-after = , nach { $x }
platform-no-node = Kein Knoten.
platform-checks = Prüfungen
platform-last-run = Letzter Lauf
platform-last-message = Letzte Meldung
platform-would = ein Lauf würde ändern:
platform-no-checks = noch keine
platform-pass = { $n } bestanden
platform-ran = { $ok } in Ordnung, { $changed } geändert, { $n } s
platform-run = Erneut ausführen
platform-run-one = Erneut ausführen: die Plays von { $x }
platform-more = { $n ->
    [one] 1 weiterer, der weniger Aufmerksamkeit braucht:
   *[other] { $n } weitere, die weniger Aufmerksamkeit brauchen:
}
platform-all-of = alle Knoten der Rolle { $x }
platform-acceptance = Abnahme
platform-accepted = abgenommen
platform-not-accepted = nicht abgenommen
platform-accept = <code>seedd accept</code> führt die Prüfungen aus cluster.yaml aus und signiert das Ergebnis.
stand-nothing = nichts auszuführen
stand-waiting = wartet
stand-running = läuft
stand-converged = in Betrieb
stand-outdated = veraltet
stand-failed = fehlgeschlagen
stand-unhealthy = nicht intakt
stand-silent = stumm

## Charts
charts-time = Angezeigter Zeitraum
charts-source = von Prometheus auf { $x },
charts-to = bis
charts-alerts = Alarme
charts-no-alerts = Kein Alarm steht an oder ist ausgelöst.
charts-firing = ausgelöst
charts-pending = anstehend
charts-since = begonnen { $x }
charts-scale = 0 bis { $x }
charts-picture = { $x }; die Werte stehen in der Tabelle darunter
charts-series = Datenreihe
charts-last = Letzter Wert
charts-highest = Höchstwert
charts-left-out = { $n ->
    [one] 1 weitere mit kleineren Werten ist nicht dargestellt.
   *[other] { $n } weitere mit kleineren Werten sind nicht dargestellt.
}
chart-cpu = Prozessorauslastung
chart-memory = Belegter Arbeitsspeicher
chart-disk = Belegung des Root-Dateisystems
chart-planes = Empfangen je Ebene, alle Knoten
chart-network = Empfangen im Underlay
chart-peers = Peers ohne aktuellen Handshake
chart-targets = Antwortende Ziele
chart-clock = Abweichung der Uhr
chart-certificates = Restlaufzeit des Zertifikats, das zuerst abläuft
chart-etcd-size = etcd: Größe der Datenbank
chart-etcd-fsync = etcd: Write-Ahead-Log auf Datenträger, 99. Perzentil
chart-balancer = Load Balancer: Verbindungen

## Mesh
mesh-shown = Angezeigte Ebene
mesh-all = alle Ebenen
mesh-mean = Mittelwert über fünf Minuten,
mesh-mean-from = Mittelwert über fünf Minuten, von Prometheus auf { $x },
mesh-violations = Verstöße
mesh-no-violations = Keine Ebene hat in der letzten Stunde einen Dienst übertragen, der dort nicht vorgesehen ist.
mesh-violation = Verstoß
mesh-carried = { $node }: { $plane } hat { $x } mit { $peer } übertragen
mesh-blind = Zählen nicht, weil dem Kernel die Typinformationen fehlen: { $x }.
mesh-traffic = Datenverkehr zwischen Knoten
mesh-nothing = Noch wurde nichts gezählt.
mesh-picture = Knoten und der Datenverkehr zwischen ihnen; die Werte stehen in der Tabelle darunter
mesh-undrawn = { $n ->
    [one] 1 Knoten mit weniger Datenverkehr steht nur in der Tabelle.
   *[other] { $n } Knoten mit weniger Datenverkehr stehen nur in der Tabelle.
}
mesh-links = Verbindungen
mesh-bytes = Bytes der IP-Pakete, wie gesendet
mesh-no-links = Keine. Das Play flow zählt den Datenverkehr; nehmen Sie es in jede Rolle auf.
mesh-rate = Datenrate
mesh-rtt = Paketumlaufzeit
mesh-no-rtt = nicht gemessen
mesh-left-out = { $n ->
    [one] 1 weitere mit weniger Datenverkehr ist nicht aufgeführt.
   *[other] { $n } weitere mit weniger Datenverkehr sind nicht aufgeführt.
}
mesh-drops = Verworfene Pakete
mesh-hour = letzte Stunde
mesh-reason = Grund laut Kernel
mesh-packets = Pakete

## Planes
planes-about = WireGuard-Netze des Standorts; <a href="/mesh">Mesh</a> zeigt ihren Datenverkehr
planes-purpose = Zweck
planes-addresses = Adressen
planes-port = UDP-Port
planes-topology = Topologie
planes-nodes = Knoten
planes-carries = Überträgt
planes-none = nicht angegeben
planes-allowed = was erlaubt ist
planes-open = jeden Port
planes-mesh = Mesh
planes-hub = Hub: der Seed
planes-hubs = Hub: der Seed, { $x }
planes-apart = Von einer Ebene wird nichts auf eine andere weitergeleitet, und ein Knoten nimmt Pakete an seine Adresse auf einer Ebene nur auf dieser Ebene an.
planes-allows = Erlaubt
planes-allows-of = auf Ebenen, die alles andere abweisen
planes-plane = Ebene
planes-from = Von
planes-to = An
planes-ports = Ports
planes-built-in = fest eingebaut
planes-replace-title = Schlüssel von Knoten ersetzen
planes-replace-how = Jeder Knoten erzeugt seinen neuen Schlüssel selbst. Die anderen erhalten ihn, bevor der Knoten ihn verwendet; so wird keine Ebene unterbrochen. Die Ebenen kommen nacheinander an die Reihe; ein Knoten braucht etwa zwei Minuten.
planes-node = Knoten
planes-node-empty = Hostname; leer: alle Knoten
planes-every = alle Ebenen
planes-all = Jeden Schlüssel jedes Knotens, wenn beides fehlt
planes-replace = Schlüssel ersetzen
planes-keys = Schlüssel, die gerade ersetzt werden
planes-stage = Phase
planes-asked-by = Angefordert von
planes-queued = wartet, bis er an der Reihe ist
planes-asked = wartet auf den neuen Schlüssel des Knotens
planes-announced = wartet, bis jeder Knoten den neuen Schlüssel hat
planes-switched = wird umgestellt

## Images
images-build-title = Image bauen
images-build-about = Bringt das Artefakt einer Rolle in das Format einer anderen Plattform. Maschinen, die davon starten, fordern bei diesem Seed ihre Aufnahme an. Ein vorhandenes Image wird nicht erneut gebaut.
images-role = Rolle { $x }
images-build = Bauen
images-build-role = Für die Rolle { $x } bauen
images-all-roles = Alle Rollen
images-build-all = Für alle Rollen bauen
images-here = Images auf diesem Seed
images-stale-means = veraltet: aus einem Artefakt gebaut, das nicht mehr in Verwendung ist; <code>seedd darksite gc</code> löscht alle außer dem neuesten
images-none = Keine.
images-file = Datei
images-target = Ziel
images-made = Gebaut
images-verified = Geprüft
images-secret = enthält ein Join-Token: auf dem Seed kopieren
images-current = aktuell
images-stale = veraltet
images-files = alle Dateien: <code>{ $x }</code>
images-only-for = nur für { $x }
images-all = alle
images-intact = intakt
images-damaged = beschädigt
images-verify = Prüfen
images-verify-one = { $x } prüfen

## About
about-system = System
about-database = Datenbank
about-schema = Schema { $n }
about-agents = Agenten
about-protocol = Protokollversion { $n }
about-ca = CA dieses Standorts
about-examples = Beispiele
about-bundle = Support-Paket
about-bundle-has = Eine Datei mit allem, was andere zum Helfen brauchen: cluster.yaml, letzte Ereignisse, Maschinen, Konvergenz und Zustand dieses Hosts. Sie enthält weder Schlüssel noch Passwörter und ist für den Operator-Schlüssel dieses Standorts verschlüsselt,
about-download = Support-Paket herunterladen
about-licences = Lizenzen
about-licensed = Kubedos steht unter der Apache License 2.0. Es enthält { $n } Pakete anderer Autoren:
about-packages = Pakete und ihre Lizenzen
about-rust = Rust-Pakete dieser Version
about-package = Paket
about-version = Version
about-licence = Lizenz
