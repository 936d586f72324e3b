use std::io;

use quick_xml::Writer;
use quick_xml::events::BytesText;

pub(super) type Xml = Writer<Vec<u8>>;

/// An element with elements inside.
pub(super) fn inside(
    xml: &mut Xml,
    name: &str,
    attributes: &[(&str, &str)],
    content: impl FnOnce(&mut Xml) -> io::Result<()>,
) -> io::Result<()> {
    xml.create_element(name).with_attributes(attributes.iter().copied()).write_inner_content(content).map(drop)
}

/// An element with text.
pub(super) fn leaf(xml: &mut Xml, name: &str, text: &str) -> io::Result<()> {
    xml.create_element(name).write_text_content(BytesText::new(text)).map(drop)
}

/// An element with attributes only.
pub(super) fn empty(xml: &mut Xml, name: &str, attributes: &[(&str, &str)]) -> io::Result<()> {
    xml.create_element(name).with_attributes(attributes.iter().copied()).write_empty().map(drop)
}

/// What every section begins with.
pub(super) fn info(xml: &mut Xml, text: &str) -> io::Result<()> {
    leaf(xml, "Info", text)
}
