//! EC2's query API (version 2016-11-15): parameters in, XML out.

use cluster_seed::progress::Progress;
use roxmltree::{Document, Node};

use super::send::{Answer, Call, Client, Service};
use crate::error::AwsError;
use crate::sign::escape;

const VERSION: &str = "2016-11-15";
const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// The parameters of a request, in the order they were added.
#[derive(Debug, Clone)]
pub(crate) struct Form {
    action: &'static str,
    text: String,
    fresh: bool,
}

impl Form {
    pub(crate) fn new(action: &'static str) -> Self {
        Form { action, text: format!("Action={action}&Version={VERSION}"), fresh: false }
    }

    /// Repeats it too while AWS does not know what it names.
    pub(crate) fn fresh(mut self) -> Self {
        self.fresh = true;
        self
    }

    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.text.push('&');
        escape(name, &mut self.text);
        self.text.push('=');
        escape(value, &mut self.text);
        self
    }

    /// Nothing is sent for `None`.
    pub(crate) fn maybe(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.set(name, value),
            None => self,
        }
    }

    /// `Name.1=…&Name.2=…`
    pub(crate) fn list<S: AsRef<str>>(self, name: &str, values: &[S]) -> Self {
        values.iter().enumerate().fold(self, |form, (n, value)| form.set(&format!("{name}.{}", n + 1), value.as_ref()))
    }

    /// Filter number `n` (from 1): any of the values.
    pub(crate) fn filter(self, n: usize, name: &str, values: &[&str]) -> Self {
        self.set(&format!("Filter.{n}.Name"), name).list(&format!("Filter.{n}.Value"), values)
    }

    /// Tags of number `n` (from 1) of the kinds of things that the request makes.
    pub(crate) fn tags(self, n: usize, kind: &str, tags: &[(String, String)]) -> Self {
        let prefix = format!("TagSpecification.{n}");
        let form = self.set(&format!("{prefix}.ResourceType"), kind);
        tags.iter().enumerate().fold(form, |form, (m, (key, value))| {
            form.set(&format!("{prefix}.Tag.{}.Key", m + 1), key).set(&format!("{prefix}.Tag.{}.Value", m + 1), value)
        })
    }

    pub(crate) fn send(&self, client: &Client, progress: &dyn Progress) -> Result<Xml, AwsError> {
        let call = Call {
            action: self.action,
            service: Service::Ec2,
            method: "POST",
            path: "/".to_owned(),
            headers: vec![("content-type", FORM.to_owned())],
            body: self.text.as_bytes(),
            payload: None,
            fresh: self.fresh,
        };
        client.call(&call, progress).and_then(Xml::new)
    }
}

/// An answer, read as text. roxmltree expands no external entities and refuses document types.
#[derive(Debug)]
pub(crate) struct Xml {
    action: &'static str,
    text: String,
}

impl Xml {
    fn new(answer: Answer) -> Result<Self, AwsError> {
        let action = answer.action;
        let text = String::from_utf8(answer.body).map_err(|e| AwsError::Answer { action, why: e.utf8_error().to_string() })?;
        Ok(Xml { action, text })
    }

    /// Reads the answer with `read`, which gets its root.
    pub(crate) fn read<T>(&self, read: impl FnOnce(Node<'_, '_>) -> Result<T, &'static str>) -> Result<T, AwsError> {
        let failed = |why: String| AwsError::Answer { action: self.action, why };
        let document = Document::parse(&self.text).map_err(|e| failed(e.to_string()))?;
        read(document.root_element()).map_err(|why| failed(why.to_owned()))
    }
}

/// The text of the element at a path below `node`; names are compared without their namespace.
pub(crate) fn text<'a>(node: Node<'a, '_>, path: &[&str]) -> Option<&'a str> {
    let found = path.iter().try_fold(node, |node, name| node.children().find(|c| c.has_tag_name_of(name)))?;
    found.text().map(str::trim).filter(|t| !t.is_empty())
}

/// The elements `item` of a list.
pub(crate) fn items<'a, 'i: 'a>(node: Node<'a, 'i>, list: &str) -> Vec<Node<'a, 'i>> {
    let found = node.children().find(|c| c.has_tag_name_of(list));
    found.into_iter().flat_map(|l| l.children()).filter(|c| c.has_tag_name_of("item")).collect()
}

/// The value of a tag of an image, a snapshot or an instance.
pub(crate) fn tag<'a>(node: Node<'a, '_>, key: &str) -> Option<&'a str> {
    items(node, "tagSet").into_iter().find(|i| text(*i, &["key"]) == Some(key)).and_then(|i| text(i, &["value"]))
}

trait Named {
    fn has_tag_name_of(&self, name: &str) -> bool;
}

impl Named for Node<'_, '_> {
    fn has_tag_name_of(&self, name: &str) -> bool {
        self.is_element() && self.tag_name().name() == name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_numbered_and_escaped() {
        let tags = [("a".to_owned(), "1&2".to_owned()), ("b:c".to_owned(), String::new())];
        let form = Form::new("X")
            .set("Name", "a b")
            .maybe("No", None)
            .list("Id", &["i-1", "i-2"])
            .filter(1, "tag:k", &["v"])
            .tags(1, "image", &tags);
        assert_eq!(
            form.text,
            "Action=X&Version=2016-11-15&Name=a%20b&Id.1=i-1&Id.2=i-2&Filter.1.Name=tag%3Ak&Filter.1.Value.1=v\
             &TagSpecification.1.ResourceType=image&TagSpecification.1.Tag.1.Key=a&TagSpecification.1.Tag.1.Value=1%262\
             &TagSpecification.1.Tag.2.Key=b%3Ac&TagSpecification.1.Tag.2.Value="
        );
    }

    #[test]
    fn answers_are_read_by_their_names() {
        let body = "<R xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><imagesSet><item><imageId> ami-1 </imageId>\
                    <tagSet><item><key>k</key><value>v</value></item></tagSet></item><item/></imagesSet></R>";
        let xml = Xml { action: "X", text: body.to_owned() };
        xml.read(|root| {
            let images = items(root, "imagesSet");
            assert_eq!(images.len(), 2);
            assert_eq!(
                (text(images[0], &["imageId"]), tag(images[0], "k"), tag(images[0], "v")),
                (Some("ami-1"), Some("v"), None)
            );
            assert_eq!((text(images[1], &["imageId"]), items(root, "none").len()), (None, 0));
            Ok(())
        })
        .unwrap();
        let broken = Xml { action: "X", text: "<a>".to_owned() };
        assert!(matches!(broken.read(|_| Ok(())), Err(AwsError::Answer { action: "X", .. })));
        // Entities could make a small answer large.
        let entities = Xml { action: "X", text: "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>".to_owned() };
        assert!(entities.read(|_| Ok(())).is_err());
    }
}
