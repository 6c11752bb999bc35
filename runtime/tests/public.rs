//! What an application can name: `public.txt` holds it, so that whoever changes it sees so in review.
//!
//! The list is read from the source, from `lib.rs` over modules and re-exports. It holds no bodies, types or bounds, nothing
//! that a macro of ours makes, and of what is `#[doc(hidden)]` the name alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use syn::{Attribute, FnArg, ImplItem, Item, TraitItem, Type, UseTree, Visibility};

/// Set, it makes the list anew.
const UPDATE: &str = "RINGMW_UPDATE_PUBLIC";

#[test]
fn the_list_of_public_items_is_up_to_date() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list = public_items(&Source::read(&manifest.join("src/lib.rs")));
    let file = manifest.join("tests/public.txt");
    if std::env::var_os(UPDATE).is_some() {
        return std::fs::write(&file, list).expect("the list can be written");
    }
    let held = std::fs::read_to_string(&file).expect("the list is there");
    let differences = differences(&held, &list);
    assert!(
        differences.is_empty(),
        "what is public has changed:\n{differences}\nIf it was meant to, run\n    \
         {UPDATE}=1 cargo test -p ringmw --test public\nand commit runtime/tests/public.txt with it."
    );
}

/// The lines of the one that the other has not, with the signs of a diff.
fn differences(held: &str, found: &str) -> String {
    let gone = held
        .lines()
        .filter(|line| !found.lines().any(|l| l == *line));
    let new = found
        .lines()
        .filter(|line| !held.lines().any(|l| l == *line));
    gone.map(|line| format!("- {line}\n"))
        .chain(new.map(|line| format!("+ {line}\n")))
        .collect()
}

/// The modules of a crate by their paths, the root's is empty.
struct Source(BTreeMap<Names, Vec<Item>>);

/// A path of the source, from the root.
type Names = Vec<String>;

impl Source {
    fn read(root: &Path) -> Self {
        let mut source = Source(BTreeMap::new());
        let folder = root.parent().expect("it stands in a folder");
        source.add(Vec::new(), items_of(root), folder);
        source
    }

    fn parse(text: &str) -> Self {
        let mut source = Source(BTreeMap::new());
        let file = syn::parse_file(text).expect("it is Rust");
        source.add(Vec::new(), file.items, Path::new("/nowhere"));
        source
    }

    /// `folder` has the files of the module's children.
    fn add(&mut self, path: Names, items: Vec<Item>, folder: &Path) {
        for item in &items {
            let Item::Mod(module) = item else { continue };
            if is_of_tests(&module.attrs) {
                continue;
            }
            let name = module.ident.to_string();
            let child = [path.as_slice(), std::slice::from_ref(&name)].concat();
            let inner = folder.join(&name);
            let items = match &module.content {
                Some((_, items)) => items.clone(),
                None => items_of(&file_of(folder, &name)),
            };
            self.add(child, items, &inner);
        }
        self.0.insert(path, items);
    }

    /// Where the item stands that a module calls so; none if it is of another crate.
    fn resolve(&self, module: &[String], path: &[String]) -> Option<Names> {
        let (first, rest) = path.split_first()?;
        if rest.is_empty() && self.declares(module, first) {
            return Some([module, path].concat());
        }
        let base = match first.as_str() {
            "crate" => Vec::new(),
            "self" => module.to_vec(),
            "super" => module[..module.len() - 1].to_vec(),
            name => {
                let child = [module, &[name.to_owned()]].concat();
                let is_child = self.0.contains_key(&child);
                let used = self.used(module, name);
                // A path that begins with its own name begins at a child, or is of another crate.
                let used = used.filter(|used| is_child || used.first() != path.first());
                match used {
                    // An item is preferred to a module of its name, which may be private.
                    Some(used) if !is_child || rest.is_empty() => self.resolve(module, &used)?,
                    _ if is_child => child,
                    _ => return None,
                }
            }
        };
        if rest.is_empty() {
            return Some(base);
        }
        self.resolve(&base, rest)
    }

    fn declares(&self, module: &[String], name: &str) -> bool {
        self.0.get(module).is_some_and(|items| {
            items
                .iter()
                .any(|item| name_of(item).is_some_and(|(_, n, _)| n == name))
        })
    }

    /// The path by which a module has imported a name.
    fn used(&self, module: &[String], name: &str) -> Option<Names> {
        let uses = self.0.get(module)?.iter().filter_map(|item| match item {
            Item::Use(item) if !is_of_tests(&item.attrs) => Some(leaves(&item.tree)),
            _ => None,
        });
        let mut found = uses.flatten().filter(|(as_, _)| as_ == name);
        found.next().map(|(_, path)| path)
    }
}

fn file_of(folder: &Path, name: &str) -> PathBuf {
    let flat = folder.join(format!("{name}.rs"));
    if flat.exists() {
        flat
    } else {
        folder.join(name).join("mod.rs")
    }
}

fn items_of(file: &Path) -> Vec<Item> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let parsed = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    parsed.items
}

fn is_of_tests(attrs: &[Attribute]) -> bool {
    attrs.iter().any(|attr| {
        attr.path().is_ident("cfg")
            && attr
                .parse_args::<syn::Ident>()
                .is_ok_and(|what| what == "test")
    })
}

fn is_hidden(attrs: &[Attribute]) -> bool {
    attrs.iter().any(|attr| {
        attr.path().is_ident("doc")
            && attr
                .parse_args::<syn::Ident>()
                .is_ok_and(|what| what == "hidden")
    })
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// Kind, name and visibility of what has all three.
fn name_of(item: &Item) -> Option<(&'static str, String, &Visibility)> {
    Some(match item {
        Item::Const(item) => ("const", item.ident.to_string(), &item.vis),
        Item::Enum(item) => ("enum", item.ident.to_string(), &item.vis),
        Item::Fn(item) => ("fn", item.sig.ident.to_string(), &item.vis),
        Item::Static(item) => ("static", item.ident.to_string(), &item.vis),
        Item::Struct(item) => ("struct", item.ident.to_string(), &item.vis),
        Item::Trait(item) => ("trait", item.ident.to_string(), &item.vis),
        Item::Type(item) => ("type", item.ident.to_string(), &item.vis),
        Item::Union(item) => ("union", item.ident.to_string(), &item.vis),
        _ => return None,
    })
}

/// What a `use` brings: the name, and the path.
fn leaves(tree: &UseTree) -> Vec<(String, Names)> {
    fn go(above: &[String], tree: &UseTree, out: &mut Vec<(String, Names)>) {
        let with = |name: &syn::Ident| [above, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => go(&with(&path.ident), &path.tree, out),
            UseTree::Name(name) if name.ident == "self" => {
                let name = above.last().expect("self stands in a list");
                out.push((name.clone(), above.to_vec()));
            }
            UseTree::Name(name) => out.push((name.ident.to_string(), with(&name.ident))),
            UseTree::Rename(name) => out.push((name.rename.to_string(), with(&name.ident))),
            UseTree::Group(group) => group.items.iter().for_each(|tree| go(above, tree, out)),
            UseTree::Glob(_) => out.push(("*".to_owned(), above.to_vec())),
        }
    }
    let mut out = Vec::new();
    go(&[], tree, &mut out);
    out
}

/// The list, a line for each.
fn public_items(source: &Source) -> String {
    let mut public = Public {
        source,
        lines: Vec::new(),
        types: BTreeMap::new(),
    };
    public.module(&[], "ringmw");
    public.methods();
    public.lines.sort();
    public.lines.dedup();
    public.lines.join("\n") + "\n"
}

struct Public<'s> {
    source: &'s Source,
    lines: Vec<String>,
    /// The name in public of each item that has been listed.
    types: BTreeMap<Names, String>,
}

impl Public<'_> {
    fn module(&mut self, module: &[String], name: &str) {
        self.lines.push(format!("mod {name}"));
        let mut children = Vec::new();
        for item in &self.source.0[module] {
            match item {
                Item::Mod(child) if is_public(&child.vis) && !is_of_tests(&child.attrs) => {
                    let path = [module, &[child.ident.to_string()]].concat();
                    children.push((path, child.ident.to_string(), is_hidden(&child.attrs)));
                }
                Item::Use(item) if is_public(&item.vis) && !is_of_tests(&item.attrs) => {
                    for (as_, path) in leaves(&item.tree) {
                        assert_ne!(as_, "*", "{name} gives on all of {}", path.join("::"));
                        let is_hidden = is_hidden(&item.attrs);
                        match self.source.resolve(module, &path) {
                            Some(found) if self.source.0.contains_key(&found) => {
                                children.push((found, as_, is_hidden));
                            }
                            Some(found) => self.item(&found, &format!("{name}::{as_}")),
                            None => self
                                .lines
                                .push(format!("use {name}::{as_} = {}", path.join("::"))),
                        }
                    }
                }
                item => {
                    if let Some((_, own, visibility)) = name_of(item)
                        && is_public(visibility)
                    {
                        self.item(
                            &[module, std::slice::from_ref(&own)].concat(),
                            &format!("{name}::{own}"),
                        );
                    }
                }
            }
        }
        for (path, child, is_hidden) in children {
            let child = format!("{name}::{child}");
            if is_hidden {
                self.lines.push(format!("hidden {child}"));
            } else {
                self.module(&path, &child);
            }
        }
    }

    fn item(&mut self, path: &[String], name: &str) {
        if let Some(first) = self.types.get(path) {
            return self.lines.push(format!("use {name} = {first}"));
        }
        self.types.insert(path.to_vec(), name.to_owned());
        let (own, module) = path.split_last().expect("an item has a name");
        let source = self.source;
        let found = source.0[module].iter().filter_map(|item| {
            let (kind, ident, visibility) = name_of(item)?;
            (ident == *own).then_some((kind, item, visibility))
        });
        for (kind, item, visibility) in found {
            assert!(
                is_public(visibility),
                "{name} is not public where it stands"
            );
            self.lines.push(format!("{kind} {name}"));
            match item {
                Item::Struct(item) => self.fields(name, &item.fields),
                Item::Enum(item) => {
                    for variant in &item.variants {
                        let variant_name = format!("{name}::{}", variant.ident);
                        self.lines.push(format!("variant {variant_name}"));
                        for field in variant
                            .fields
                            .iter()
                            .filter_map(|field| field.ident.as_ref())
                        {
                            self.lines.push(format!("field {variant_name}.{field}"));
                        }
                    }
                }
                Item::Trait(item) => {
                    for item in &item.items {
                        let (kind, own) = match item {
                            TraitItem::Const(item) => ("const", &item.ident),
                            TraitItem::Fn(item) => ("fn", &item.sig.ident),
                            TraitItem::Type(item) => ("type", &item.ident),
                            _ => continue,
                        };
                        self.lines.push(format!("{kind} {name}::{own}"));
                    }
                }
                _ => {}
            }
        }
    }

    fn fields(&mut self, name: &str, fields: &syn::Fields) {
        for (nth, field) in fields.iter().enumerate() {
            if is_public(&field.vis) {
                let own = field
                    .ident
                    .as_ref()
                    .map_or(nth.to_string(), ToString::to_string);
                self.lines.push(format!("field {name}.{own}"));
            }
        }
    }

    /// Of the public types, wherever in the crate they are implemented.
    fn methods(&mut self) {
        for (module, items) in &self.source.0 {
            for item in items {
                let Item::Impl(item) = item else { continue };
                if item.trait_.is_some() || is_of_tests(&item.attrs) {
                    continue;
                }
                let Type::Path(of) = &*item.self_ty else {
                    continue;
                };
                let path: Names = of
                    .path
                    .segments
                    .iter()
                    .map(|s| s.ident.to_string())
                    .collect();
                let found = self.source.resolve(module, &path);
                let Some(name) = found.and_then(|found| self.types.get(&found)).cloned() else {
                    continue;
                };
                for item in &item.items {
                    match item {
                        ImplItem::Fn(item) if is_public(&item.vis) && !is_of_tests(&item.attrs) => {
                            let takes_self = item.sig.inputs.first();
                            let kind = match takes_self {
                                Some(FnArg::Receiver(_)) => "method",
                                _ => "fn",
                            };
                            self.lines
                                .push(format!("{kind} {name}::{}", item.sig.ident));
                        }
                        ImplItem::Const(item) if is_public(&item.vis) => {
                            self.lines.push(format!("const {name}::{}", item.ident));
                        }
                        _ => {}
                    }
                }
            }
        }
    }
}

/// A test that finds nothing changed must be one that could.
#[test]
fn what_is_public_is_found_and_nothing_else() {
    let source = Source::parse(
        "
        mod inner {
            mod same { pub fn same() {} }
            pub use same::same;
            mod deep {
                pub struct Seen { pub field: u8, own: u8 }
                pub struct Unseen;
                pub enum Choice { One, Two { nth: u8 } }
            }
            pub use deep::{Choice as Chosen, Seen};
            use crate::inner::deep::Unseen;
            impl Seen { pub fn new() -> Self {} pub fn get(&self) {} fn own(&self) {} pub(crate) fn ours(&self) {} }
            impl Unseen { pub fn method(&self) {} }
            impl Clone for Seen { fn clone(&self) -> Self {} }
        }
        #[doc(hidden)]
        pub mod hidden { pub fn nobody() {} }
        pub use inner::{Chosen, Seen, same};
        pub use other::Foreign;
        pub trait Works { const N: u8; type Output; fn work(&self); }
        #[cfg(test)]
        pub mod tests { pub fn nobody() {} }
        pub mod prelude { pub use crate::Seen; }
        ",
    );
    let expected = [
        "const ringmw::Works::N",
        "enum ringmw::Chosen",
        "field ringmw::Chosen::Two.nth",
        "field ringmw::Seen.field",
        "fn ringmw::Seen::new",
        "fn ringmw::Works::work",
        "fn ringmw::same",
        "hidden ringmw::hidden",
        "method ringmw::Seen::get",
        "mod ringmw",
        "mod ringmw::prelude",
        "struct ringmw::Seen",
        "trait ringmw::Works",
        "type ringmw::Works::Output",
        "use ringmw::Foreign = other::Foreign",
        "use ringmw::prelude::Seen = ringmw::Seen",
        "variant ringmw::Chosen::One",
        "variant ringmw::Chosen::Two",
    ];
    let found = public_items(&source);
    assert_eq!(found.lines().collect::<Vec<_>>(), expected);
    let less = found.replace("method ringmw::Seen::get\n", "");
    assert_eq!(differences(&found, &less), "- method ringmw::Seen::get\n");
    assert_eq!(differences(&less, &found), "+ method ringmw::Seen::get\n");
    assert_eq!(differences(&found, &found), "");
}
