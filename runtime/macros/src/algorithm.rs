//! `#[algorithm]`: a type beside the function, which makes its tasks and runs them.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{
    Attribute, Error, Expr, ExprLit, FnArg, GenericArgument, ItemFn, Lit, MetaNameValue, Pat,
    PathArguments, PathSegment, Result, ReturnType, Signature, Type, TypeReference,
};

use crate::wire::{flatten, unraw};

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let expanded = timeout_ms(arguments).and_then(|timeout_ms| {
        let function = syn::parse2::<ItemFn>(item.clone()).map_err(|error| {
            Error::new(
                error.span(),
                format!("`#[algorithm]` goes on a plain function ({error})"),
            )
        })?;
        expand_function(&function, timeout_ms)
    });
    // The function goes out in any case, so that nothing else complains of its absence.
    match expanded {
        Ok(beside) => [item, beside].into_iter().collect(),
        Err(error) => [error.into_compile_error(), item].into_iter().collect(),
    }
}

/// The time-out among the arguments of the attribute, in milliseconds; none if there is none.
fn timeout_ms(arguments: TokenStream) -> Result<Option<u64>> {
    if arguments.is_empty() {
        return Ok(None);
    }
    let wrong = |spanned: &dyn ToTokens| {
        Error::new_spanned(
            spanned,
            "`#[algorithm]` takes nothing but a time-out: `#[algorithm(timeout = \"30s\")]`, in ms, s, min or h, at least 1ms",
        )
    };
    let argument =
        syn::parse2::<MetaNameValue>(arguments.clone()).map_err(|_| wrong(&arguments))?;
    let Expr::Lit(ExprLit {
        lit: Lit::Str(text),
        ..
    }) = &argument.value
    else {
        return Err(wrong(&argument.value));
    };
    let units = [("ms", 1), ("min", 60_000), ("s", 1_000), ("h", 3_600_000)];
    let value = text.value();
    let (digits, unit_ms) = units
        .iter()
        .find_map(|(unit, ms)| Some((value.strip_suffix(unit)?, *ms)))
        .unwrap_or((&value, 1_000));
    let ms = digits
        .parse()
        .ok()
        .and_then(|number: u64| number.checked_mul(unit_ms));
    match ms {
        // A year is more than anybody means.
        Some(ms @ 1..=31_536_000_000) if argument.path.is_ident("timeout") => Ok(Some(ms)),
        _ => Err(wrong(&argument)),
    }
}

/// Where a parameter comes from.
enum Source {
    /// `&str`
    Text,
    /// `&[u8]`
    Bytes,
    /// `&[T]`
    Slice(Type),
    /// `&Archived<T>`
    InPlace(Type),
    /// `T`
    Owned(Type),
    /// `&T`
    Lent(Type),
    /// `&Best<K, W>`
    Best(Box<Type>, Box<Type>),
    /// `&Shared<T>`
    Shared(Type),
    /// `&[Shared<T>]`
    SharedSlice(Type),
    /// `&mut S`
    State(Type),
    /// `&mut Talk<Down, Up>`
    Talk(Box<Type>, Box<Type>),
    /// `&mut Cx`
    Cx,
}

struct Parameter {
    /// As the user wrote it, or made up for `_`.
    name: Ident,
    ty: Type,
    source: Source,
}

impl Parameter {
    fn travels(&self) -> bool {
        !matches!(
            self.source,
            Source::State(_) | Source::Talk(..) | Source::Cx
        )
    }

    fn text(&self) -> String {
        unraw(&self.name)
    }

    /// Its type in `task(..)`.
    fn given_type(&self) -> TokenStream {
        match &self.source {
            Source::InPlace(ty) => quote_spanned!(self.ty.span()=> &#ty),
            _ => self.ty.to_token_stream(),
        }
    }

    /// What must hold of its type, where the type is written.
    fn bound(&self) -> Option<TokenStream> {
        Some(match &self.source {
            Source::Text | Source::Bytes | Source::Cx => return None,
            Source::Slice(ty) | Source::Owned(ty) | Source::Lent(ty) | Source::InPlace(ty) => {
                quote_spanned!(ty.span()=> #ty: ::ringmw::Wire)
            }
            Source::State(ty) => quote_spanned!(ty.span()=> #ty: ::ringmw::SlaveState),
            Source::Talk(down, up) => {
                let down = quote_spanned!(down.span()=> #down: ::ringmw::Wire);
                let up = quote_spanned!(up.span()=> #up: ::ringmw::Wire);
                quote!(#down, #up)
            }
            Source::Shared(ty) | Source::SharedSlice(ty) => {
                quote_spanned!(ty.span()=> #ty: ::ringmw::Share)
            }
            Source::Best(key, witness) => {
                let key = quote_spanned!(key.span()=> #key: ::ringmw::BestKey);
                let witness = quote_spanned!(witness.span()=> #witness: ::ringmw::Wire);
                quote!(#key, #witness)
            }
        })
    }

    /// Writes its segment: a `Result` expression.
    fn write(&self, writer: &Ident) -> TokenStream {
        let name = &self.name;
        match &self.source {
            Source::Text => quote!(#writer.text(#name)),
            Source::Bytes => quote!(#writer.bytes(#name)),
            Source::Slice(ty) => quote_spanned!(ty.span()=> #writer.slice::<#ty>(#name)),
            Source::Owned(ty) => quote_spanned!(ty.span()=> #writer.value::<#ty>(&#name)),
            Source::Lent(ty) | Source::InPlace(ty) => {
                quote_spanned!(ty.span()=> #writer.value::<#ty>(#name))
            }
            Source::Best(key, witness) => {
                quote_spanned!(self.ty.span()=> ::ringmw::__private::write_best::<#key, #witness>(#writer, #name))
            }
            Source::Shared(ty) => {
                quote_spanned!(self.ty.span()=> ::ringmw::__private::write_shared::<#ty>(#writer, #name))
            }
            Source::SharedSlice(ty) => {
                quote_spanned!(self.ty.span()=> ::ringmw::__private::write_shared_slice::<#ty>(#writer, #name))
            }
            Source::State(_) | Source::Talk(..) | Source::Cx => {
                unreachable!("it does not travel")
            }
        }
    }

    /// Checks `segment`: a `Result` expression, if there is something to check.
    fn check(&self, segment: &Ident) -> Option<TokenStream> {
        let text = self.text();
        let private = quote!(::ringmw::__private);
        Some(match &self.source {
            Source::Text => quote!(#private::text(#text, #segment)),
            Source::Bytes => return None,
            Source::Slice(ty) => {
                quote_spanned!(ty.span()=> #private::access::<::std::vec::Vec<#ty>>(#text, #segment))
            }
            Source::Owned(ty) | Source::Lent(ty) | Source::InPlace(ty) => {
                quote_spanned!(ty.span()=> #private::access::<#ty>(#text, #segment))
            }
            Source::Best(key, witness) => {
                quote_spanned!(self.ty.span()=> #private::check_best::<#key, #witness>(#text, #segment))
            }
            Source::Shared(ty) => {
                quote_spanned!(self.ty.span()=> #private::check_shared::<#ty>(#text, #segment))
            }
            Source::SharedSlice(ty) => {
                quote_spanned!(self.ty.span()=> #private::check_shared_slice::<#ty>(#text, #segment))
            }
            Source::State(_) | Source::Talk(..) | Source::Cx => {
                unreachable!("it does not travel")
            }
        })
    }

    /// Finds what `segment` mentions: a statement, if it can mention anything.
    fn mentions(&self, segment: &Ident, found: &Ident) -> Option<TokenStream> {
        match &self.source {
            Source::Shared(ty) | Source::SharedSlice(ty) => {
                Some(quote!(::ringmw::__private::mentions::<#ty>(#segment, #found);))
            }
            _ => None,
        }
    }

    /// Reads `segment`: an expression whose value is bound to the same name, and what is then passed to the function.
    fn read(&self, segment: &Ident, cx: &Ident) -> (TokenStream, TokenStream) {
        let text = self.text();
        let private = quote!(::ringmw::__private);
        match &self.source {
            Source::Text => (quote!(#private::text(#text, #segment)?), quote!(#segment)),
            Source::Bytes => (quote!(#segment), quote!(#segment)),
            Source::Slice(ty) => (
                quote_spanned!(ty.span()=> #private::decode::<::std::vec::Vec<#ty>>(#text, #segment)?),
                quote!(&#segment),
            ),
            Source::Owned(ty) => (
                quote_spanned!(ty.span()=> #private::decode::<#ty>(#text, #segment)?),
                quote!(#segment),
            ),
            Source::Lent(ty) => (
                quote_spanned!(ty.span()=> #private::decode::<#ty>(#text, #segment)?),
                quote!(&#segment),
            ),
            Source::InPlace(ty) => (
                quote_spanned!(ty.span()=> #private::access::<#ty>(#text, #segment)?),
                quote!(#segment),
            ),
            Source::Best(key, witness) => (
                quote_spanned!(self.ty.span()=> #private::best::<#key, #witness>(#text, #segment, #cx)?),
                quote!(&#segment),
            ),
            Source::Shared(ty) => (
                quote_spanned!(self.ty.span()=> #private::shared::<#ty>(#text, #segment, #cx)?),
                quote!(&#segment),
            ),
            Source::SharedSlice(ty) => (
                quote_spanned!(self.ty.span()=> #private::shared_slice::<#ty>(#text, #segment, #cx)?),
                quote!(&#segment),
            ),
            Source::State(ty) => (
                quote_spanned!(ty.span()=> #private::state::<#ty>(#cx)?),
                quote!(&mut *#segment),
            ),
            Source::Talk(down, up) => (
                quote_spanned!(self.ty.span()=> #private::talk::<#down, #up>(#cx)),
                quote!(&mut #segment),
            ),
            Source::Cx => (quote!(()), quote!(&mut *#cx)),
        }
    }

    /// What its argument is when it is read back, and the `Result` expression that reads `segment`; a handle is not.
    fn owned(&self, segment: &Ident) -> Option<(TokenStream, TokenStream)> {
        let text = self.text();
        let private = quote!(::ringmw::__private);
        Some(match &self.source {
            Source::Text => (
                quote!(::std::string::String),
                quote!(#private::text(#text, #segment).map(::std::string::String::from)),
            ),
            Source::Bytes => (
                quote!(::std::vec::Vec<u8>),
                quote!(::std::result::Result::<_, ::ringmw::WireError>::Ok(#segment.to_vec())),
            ),
            Source::Slice(ty) => (
                quote_spanned!(ty.span()=> ::std::vec::Vec<#ty>),
                quote_spanned!(ty.span()=> #private::decode::<::std::vec::Vec<#ty>>(#text, #segment)),
            ),
            Source::Owned(ty) | Source::Lent(ty) | Source::InPlace(ty) => (
                quote!(#ty),
                quote_spanned!(ty.span()=> #private::decode::<#ty>(#text, #segment)),
            ),
            Source::Best(..) | Source::Shared(_) | Source::SharedSlice(_) => return None,
            Source::State(_) | Source::Talk(..) | Source::Cx => {
                unreachable!("it does not travel")
            }
        })
    }

    /// Goes on hashing `hash`: how it is laid out, then its type.
    fn hash(&self) -> TokenStream {
        let private = quote!(::ringmw::__private);
        match &self.source {
            Source::Text => quote!(#private::hash_text(hash, "&str")),
            Source::Bytes => quote!(#private::hash_text(hash, "&[u8]")),
            Source::Slice(ty) => {
                quote_spanned!(ty.span()=> #private::hash_type::<::std::vec::Vec<#ty>>(hash))
            }
            Source::Owned(ty) | Source::Lent(ty) | Source::InPlace(ty) => {
                quote_spanned!(ty.span()=> #private::hash_type::<#ty>(hash))
            }
            Source::Best(key, witness) => {
                quote_spanned!(self.ty.span()=> #private::hash_best::<#key, #witness>(hash))
            }
            Source::Shared(ty) => {
                quote_spanned!(self.ty.span()=> #private::hash_shared::<#ty>(hash))
            }
            Source::SharedSlice(ty) => {
                quote_spanned!(self.ty.span()=> #private::hash_shared::<#ty>(#private::hash_text(hash, "[]")))
            }
            Source::State(_) | Source::Talk(..) | Source::Cx => {
                unreachable!("it does not travel")
            }
        }
    }

    /// A function that appends its type as people read it.
    fn describe(&self) -> TokenStream {
        let private = quote!(::ringmw::__private);
        match &self.source {
            Source::Text => quote!(|out| out.push_str("&str")),
            Source::Bytes => quote!(|out| out.push_str("&[u8]")),
            Source::Slice(ty) => {
                quote_spanned!(ty.span()=> #private::describe_type::<::std::vec::Vec<#ty>>)
            }
            Source::Owned(ty) | Source::Lent(ty) | Source::InPlace(ty) => {
                quote_spanned!(ty.span()=> #private::describe_type::<#ty>)
            }
            Source::Best(key, witness) => {
                quote_spanned!(self.ty.span()=> #private::describe_best::<#key, #witness>)
            }
            Source::Shared(ty) => {
                quote_spanned!(self.ty.span()=> #private::describe_shared::<#ty>)
            }
            Source::SharedSlice(ty) => {
                quote_spanned!(self.ty.span()=> #private::describe_shared_slice::<#ty>)
            }
            Source::State(_) | Source::Talk(..) | Source::Cx => {
                unreachable!("it does not travel")
            }
        }
    }
}

fn expand_function(function: &ItemFn, timeout_ms: Option<u64>) -> Result<TokenStream> {
    check_signature(&function.sig)?;
    let parameters = function
        .sig
        .inputs
        .iter()
        .enumerate()
        .map(|(index, input)| parameter(index, input))
        .collect::<Result<Vec<_>>>()?;
    check_memory(&parameters)?;
    let output = match &function.sig.output {
        ReturnType::Default => syn::parse_quote!(()),
        ReturnType::Type(_, ty) => {
            check_owned(ty)?;
            (**ty).clone()
        }
    };
    Ok(write_type(function, &parameters, &output, timeout_ms))
}

fn check_signature(signature: &Signature) -> Result<()> {
    if let Some(token) = &signature.asyncness {
        let message = "a task algorithm cannot be async: it has the slave's main thread to itself; remove `async`";
        return Err(Error::new_spanned(token, message));
    }
    if let Some(token) = &signature.unsafety {
        return Err(Error::new_spanned(
            token,
            "a task algorithm cannot be unsafe: the runtime calls it with whatever arrives",
        ));
    }
    if let Some(abi) = &signature.abi {
        return Err(Error::new_spanned(
            abi,
            "a task algorithm is a plain Rust function: remove `extern`",
        ));
    }
    if let Some(variadic) = &signature.variadic {
        return Err(Error::new_spanned(
            variadic,
            "a task algorithm cannot be variadic: take a `Vec`",
        ));
    }
    if !signature.generics.params.is_empty() {
        let message = "a task algorithm cannot be generic: the slave must know each type; write one function per type";
        return Err(Error::new_spanned(&signature.generics.params, message));
    }
    if let Some(clause) = &signature.generics.where_clause {
        return Err(Error::new_spanned(
            clause,
            "a task algorithm cannot be generic: remove the `where` clause",
        ));
    }
    Ok(())
}

fn parameter(index: usize, input: &FnArg) -> Result<Parameter> {
    let FnArg::Typed(typed) = input else {
        let message = "a task algorithm has no `self`: put `#[algorithm]` on a plain function outside of any `impl`";
        return Err(Error::new_spanned(input, message));
    };
    let name = match &*typed.pat {
        Pat::Ident(pattern) if pattern.by_ref.is_none() && pattern.subpat.is_none() => {
            pattern.ident.clone()
        }
        Pat::Wild(wild) => Ident::new(&format!("argument_{index}"), wild.span()),
        pattern => {
            let message =
                "a task algorithm's parameter is a name: take the pattern apart in the body";
            return Err(Error::new_spanned(pattern, message));
        }
    };
    let source = source(&typed.ty)?;
    Ok(Parameter {
        name,
        ty: (*typed.ty).clone(),
        source,
    })
}

fn source(ty: &Type) -> Result<Source> {
    match ty {
        Type::Paren(inner) => source(&inner.elem),
        Type::Group(inner) => source(&inner.elem),
        Type::Reference(reference) => source_of_reference(reference),
        _ => {
            check_plain(ty)?;
            let refuse = |message| Err(Error::new_spanned(ty, message));
            match last_segment(ty)
                .map(|segment| segment.ident.to_string())
                .as_deref()
            {
                Some("Cx") => refuse("the surroundings are lent: take `&mut Cx`"),
                Some("Best") => refuse("a `Best` is lent: take `&Best<K, W>`"),
                Some("Shared") => refuse(SHARED),
                Some("Talk") => refuse(TALK),
                _ => {
                    check_no_shared_inside(ty)?;
                    Ok(Source::Owned(ty.clone()))
                }
            }
        }
    }
}

const TALK: &str = "the conversation is lent mutably: take `&mut Talk<Down, Up>` with what the task hears and what it says";

const SHARED: &str = "shared data is lent: take `&Shared<T>` or `&[Shared<T>]`";

fn source_of_reference(reference: &TypeReference) -> Result<Source> {
    if let Some(lifetime) = &reference.lifetime {
        let message = "an argument is lent for the length of its task: remove the lifetime";
        return Err(Error::new_spanned(lifetime, message));
    }
    let ty = peel(&reference.elem);
    check_plain(ty)?;
    let segment = last_segment(ty);
    let called = |name: &str| segment.is_some_and(|segment| segment.ident == name);
    if reference.mutability.is_some() {
        return match () {
            () if called("Cx") => Ok(Source::Cx),
            () if called("Talk") => match type_arguments(segment).as_slice() {
                [down, up] => Ok(Source::Talk(
                    Box::new((*down).clone()),
                    Box::new((*up).clone()),
                )),
                _ => Err(Error::new_spanned(ty, TALK)),
            },
            () => Ok(Source::State(ty.clone())),
        };
    }
    match ty {
        Type::Slice(slice) if is_shared(&slice.elem) => {
            Ok(Source::SharedSlice(shared_type(&slice.elem)?))
        }
        Type::Slice(slice) => {
            let byte = last_segment(&slice.elem).is_some_and(|segment| segment.ident == "u8");
            Ok(if byte {
                Source::Bytes
            } else {
                Source::Slice((*slice.elem).clone())
            })
        }
        _ if called("str") => Ok(Source::Text),
        _ if called("Cx") => Err(Error::new_spanned(
            reference,
            "the surroundings are lent mutably: take `&mut Cx`",
        )),
        _ if called("Talk") => Err(Error::new_spanned(reference, TALK)),
        _ if called("Shared") => Ok(Source::Shared(shared_type(ty)?)),
        _ if called("Archived") => match type_arguments(segment).as_slice() {
            [inner] => Ok(Source::InPlace((*inner).clone())),
            _ => Err(Error::new_spanned(
                ty,
                "write `&Archived<T>` with the type that travels as `T`",
            )),
        },
        _ if called("Best") => match type_arguments(segment).as_slice() {
            [key, witness] => Ok(Source::Best(
                Box::new((*key).clone()),
                Box::new((*witness).clone()),
            )),
            _ => Err(Error::new_spanned(
                ty,
                "write `&Best<K, W>` with the types of key and witness",
            )),
        },
        _ => {
            check_no_shared_inside(ty)?;
            Ok(Source::Lent(ty.clone()))
        }
    }
}

/// A handle of shared data is no value that travels inside another.
fn check_no_shared_inside(ty: &Type) -> Result<()> {
    let mut tokens = Vec::new();
    flatten(ty.to_token_stream(), &mut tokens);
    let mut words = tokens.iter().zip(tokens.iter().skip(1));
    let is_handle = |(name, next): &(&TokenTree, &TokenTree)| {
        matches!(name, TokenTree::Ident(ident) if *ident == "Shared")
            && matches!(next, TokenTree::Punct(punct) if punct.as_char() == '<')
    };
    match words.find(is_handle) {
        Some(_) => Err(Error::new_spanned(
            ty,
            "shared data does not travel inside another type: take `&[Shared<T>]` for a list of handles, or a parameter \
             `&Shared<T>` for each",
        )),
        None => Ok(()),
    }
}

fn is_shared(ty: &Type) -> bool {
    last_segment(ty).is_some_and(|segment| segment.ident == "Shared")
}

/// The `T` of a `Shared<T>`.
fn shared_type(ty: &Type) -> Result<Type> {
    match type_arguments(last_segment(ty)).as_slice() {
        [inner] => Ok((*inner).clone()),
        _ => Err(Error::new_spanned(
            ty,
            "write `Shared<T>` with the type that is shared as `T`",
        )),
    }
}

fn peel(ty: &Type) -> &Type {
    match ty {
        Type::Paren(inner) => peel(&inner.elem),
        Type::Group(inner) => peel(&inner.elem),
        _ => ty,
    }
}

fn last_segment(ty: &Type) -> Option<&PathSegment> {
    match peel(ty) {
        Type::Path(path) if path.qself.is_none() => path.path.segments.last(),
        _ => None,
    }
}

fn type_arguments(segment: Option<&PathSegment>) -> Vec<&Type> {
    let Some(PathArguments::AngleBracketed(arguments)) = segment.map(|segment| &segment.arguments)
    else {
        return Vec::new();
    };
    arguments
        .args
        .iter()
        .filter_map(|argument| match argument {
            GenericArgument::Type(ty) => Some(ty),
            _ => None,
        })
        .collect()
}

/// No reference, lifetime or `impl` inside a parameter's type.
fn check_plain(ty: &Type) -> Result<()> {
    let mut tokens = Vec::new();
    flatten(ty.to_token_stream(), &mut tokens);
    for token in tokens {
        let message = match &token {
            TokenTree::Ident(ident) if ident == "impl" => {
                "a task algorithm cannot be generic: name the type instead of `impl Trait`"
            }
            TokenTree::Punct(punct) if punct.as_char() == '&' => {
                "a reference inside a type cannot travel: own the data (`String` for `&str`, `Vec<T>` for `&[T]`)"
            }
            TokenTree::Punct(punct) if punct.as_char() == '\'' => {
                "a type that borrows cannot travel: own the data (`String` for `&str`, `Vec<T>` for `&[T]`)"
            }
            _ => continue,
        };
        return Err(Error::new(token.span(), message));
    }
    Ok(())
}

/// A result outlives the call, so it borrows nothing.
fn check_owned(ty: &Type) -> Result<()> {
    let mut tokens = Vec::new();
    flatten(ty.to_token_stream(), &mut tokens);
    if let Some(token) = tokens
        .iter()
        .find(|token| matches!(token, TokenTree::Ident(ident) if ident == "impl"))
    {
        return Err(Error::new(
            token.span(),
            "a task algorithm cannot be generic: name the type that it returns",
        ));
    }
    // Errors stay on the slave, where only their text is taken; `Result<T, &'static str>` and `Box<dyn Error + 'static>` are fine.
    let mut previous_is_reference = false;
    for token in &tokens {
        let is = |char| matches!(token, TokenTree::Punct(punct) if punct.as_char() == char);
        if previous_is_reference && !is('\'') {
            let message = "a result owns its data: return `String` for `&str`, `Vec<T>` for `&[T]`";
            return Err(Error::new_spanned(ty, message));
        }
        previous_is_reference = is('&');
    }
    Ok(())
}

/// Each memory, the conversation and the surroundings are lent once.
fn check_memory(parameters: &[Parameter]) -> Result<()> {
    let mut talks = parameters
        .iter()
        .filter(|parameter| matches!(parameter.source, Source::Talk(..)));
    if let Some(second) = talks.nth(1) {
        let message =
            "a task has one conversation: put what it hears, and what it says, into an enum each";
        return Err(Error::new_spanned(&second.ty, message));
    }
    let own: Vec<&Parameter> = parameters
        .iter()
        .filter(|parameter| !parameter.travels())
        .collect();
    for (index, parameter) in own.iter().enumerate() {
        if own[..index]
            .iter()
            .any(|earlier| spelled(&earlier.ty) == spelled(&parameter.ty))
        {
            let message =
                "it is lent already: a slave has one of each, so one parameter can have it";
            return Err(Error::new_spanned(&parameter.ty, message));
        }
    }
    Ok(())
}

fn hidden(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

fn spelled(ty: &Type) -> String {
    ty.to_token_stream().to_string()
}

fn write_type(
    function: &ItemFn,
    parameters: &[Parameter],
    output: &Type,
    timeout_ms: Option<u64>,
) -> TokenStream {
    let name = &function.sig.ident;
    let text = unraw(name);
    let visibility = &function.vis;
    let attributes = kept_attributes(&function.attrs);
    let cfgs: Vec<&Attribute> = function
        .attrs
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"))
        .collect();
    let documented = function
        .attrs
        .iter()
        .any(|attribute| attribute.path().is_ident("doc"));
    let type_doc = (!documented).then(|| {
        let doc = format!("The task algorithm `{text}`.");
        quote!(#[doc = #doc])
    });
    let task_doc = format!("A task of [`{text}`] with these arguments.");

    // Names of our own, so that a function and its parameters may be called anything.
    let [writer, args, cx, out] = ["writer", "args", "cx", "out"].map(hidden);
    let travelling: Vec<&Parameter> = parameters
        .iter()
        .filter(|parameter| parameter.travels())
        .collect();
    let count = travelling.len();
    let task_parameters = travelling.iter().map(|parameter| {
        let (name, ty) = (&parameter.name, parameter.given_type());
        quote!(#name: #ty)
    });
    let writes = travelling.iter().map(|parameter| parameter.write(&writer));

    let bindings: Vec<Ident> = (0..parameters.len())
        .map(|index| hidden(&format!("p{index}")))
        .collect();
    let own_binding = |parameter: &Parameter| {
        let index = parameters
            .iter()
            .position(|other| std::ptr::eq(other, parameter))
            .expect("one of them");
        bindings[index].clone()
    };
    let segments: Vec<Ident> = travelling
        .iter()
        .map(|parameter| own_binding(parameter))
        .collect();
    let checks = travelling
        .iter()
        .zip(&segments)
        .filter_map(|(parameter, segment)| {
            let check = parameter.check(segment)?;
            Some(quote!(#check?;))
        });
    let found = hidden("found");
    let mentions: Vec<TokenStream> = travelling
        .iter()
        .zip(&segments)
        .filter_map(|(parameter, segment)| parameter.mentions(segment, &found))
        .collect();
    let mentions = (!mentions.is_empty()).then(|| {
        quote! {
            const MENTIONS: ::std::option::Option<
                fn(&[u8], &mut ::std::vec::Vec<::ringmw::__private::BlobRef>),
            > = ::std::option::Option::Some(|#args, #found| {
                if let ::std::result::Result::Ok([#(#segments),*]) =
                    ::ringmw::__private::split::<#count>(#args)
                {
                    #(#mentions)*
                }
            });
        }
    });
    let (owned, owned_reads): (Vec<_>, Vec<_>) = travelling
        .iter()
        .zip(&segments)
        .filter_map(|(parameter, segment)| parameter.owned(segment))
        .unzip();
    // The arguments first: with wrong ones no state is made.
    let (own, sent): (Vec<_>, Vec<_>) = parameters
        .iter()
        .zip(&bindings)
        .partition(|(parameter, _)| !parameter.travels());
    let reads = sent
        .iter()
        .chain(&own)
        .filter(|(parameter, _)| !matches!(parameter.source, Source::Cx))
        .map(|(parameter, binding)| {
            let (read, _) = parameter.read(binding, &cx);
            let mutable = matches!(parameter.source, Source::State(_) | Source::Talk(..))
                .then(|| quote!(mut));
            quote!(let #mutable #binding = #read;)
        });
    let passed = parameters
        .iter()
        .zip(&bindings)
        .map(|(parameter, binding)| parameter.read(binding, &cx).1);
    let bests: Vec<usize> = (0..count)
        .filter(|at| matches!(travelling[*at].source, Source::Best(..)))
        .collect();
    let hash_args = (!bests.is_empty()).then(|| {
        quote! {
            fn hash_args(#args: &[u8]) -> u128 {
                ::ringmw::__private::hash_args::<#count>(#args, &[#(#bests),*])
            }
        }
    });
    let talk = parameters
        .iter()
        .find_map(|parameter| match &parameter.source {
            Source::Talk(down, up) => Some((parameter, down, up)),
            _ => None,
        });
    let check_said = talk.map(|(_, _, up)| {
        quote_spanned!(up.span()=>
            const CHECK_SAID: ::std::option::Option<
                fn(&[u8]) -> ::std::result::Result<(), ::std::string::String>,
            > = ::std::option::Option::Some(::ringmw::__private::check_said::<#up>);
        )
    });
    let converses = talk.map(|(_, down, up)| {
        quote! {
            #(#cfgs)*
            #[automatically_derived]
            impl ::ringmw::Converses for #name
            where
                Self: ::ringmw::Algorithm,
                #down: ::ringmw::Wire,
                #up: ::ringmw::Wire,
            {
                type Down = #down;
                type Up = #up;
            }
        }
    });
    let hash_talk = talk.map(|(parameter, down, up)| {
        quote_spanned!(parameter.ty.span()=> let hash = ::ringmw::__private::hash_talk::<#down, #up>(hash);)
    });
    let describe_talk = talk.map(|(parameter, down, up)| {
        let text = parameter.text();
        quote_spanned!(parameter.ty.span()=>
            ::ringmw::__private::describe(&mut arguments, #text, ::ringmw::__private::describe_talk::<#down, #up>);
        )
    });
    let hashes = travelling.iter().map(|parameter| parameter.hash());
    let descriptions = travelling.iter().map(|parameter| {
        let (text, describe) = (parameter.text(), parameter.describe());
        quote!(::ringmw::__private::describe(&mut arguments, #text, #describe);)
    });

    let timeout = timeout_ms.map(|ms| {
        quote!(const TIMEOUT: ::std::option::Option<::std::time::Duration> =
            ::std::option::Option::Some(::std::time::Duration::from_millis(#ms));)
    });
    // As bounds the types are complained of once, where they are written; the bodies then take them as good.
    let bounds: Vec<TokenStream> = parameters.iter().filter_map(Parameter::bound).collect();
    let output_bound = quote_spanned!(output.span()=> #output: ::ringmw::Outcome);
    let outcome = quote_spanned!(output.span()=> <#output as ::ringmw::Outcome>::Output);
    quote! {
        #(#attributes)*
        #type_doc
        #[allow(non_camel_case_types, dead_code)]
        #visibility struct #name {}

        #(#cfgs)*
        #[allow(dead_code, clippy::all, clippy::pedantic)]
        impl #name
        where
            #(#bounds,)*
            #output_bound,
        {
            #[doc = #task_doc]
            #[inline]
            #visibility fn task(#(#task_parameters),*) -> ::ringmw::Task<Self> {
                // A block, no closure: the compiler then sees all of it at once.
                let #writer = &mut ::ringmw::__private::ArgumentWriter::new(#count);
                let written = 'written: {
                    #(if let ::std::result::Result::Err(error) = #writes {
                        break 'written ::std::result::Result::Err(error);
                    })*
                    ::std::result::Result::Ok(())
                };
                ::ringmw::__private::task(#writer, written)
            }
        }

        #(#cfgs)*
        #[allow(deprecated, unused_variables, clippy::all, clippy::pedantic)]
        #[automatically_derived]
        impl ::ringmw::Algorithm for #name
        where
            #(#bounds,)*
            #output_bound,
        {
            const NAME: &'static str = #text;
            #timeout

            type Output = #outcome;

            type Args = (#(#owned,)*);

            #mentions

            #check_said

            fn signature() -> ::ringmw::Signature {
                let mut arguments = ::std::string::String::new();
                #(#descriptions)*
                #describe_talk
                let hash = ::ringmw::__private::hash_start();
                #(let hash = #hashes;)*
                #hash_talk
                ::ringmw::Signature {
                    name: #text,
                    arguments,
                    result: ::ringmw::__private::type_text::<Self::Output>(),
                    types: ::ringmw::__private::hash_type::<Self::Output>(::ringmw::__private::hash_text(hash, "->")),
                }
            }

            #hash_args

            fn check_args(#args: &[u8]) -> ::std::result::Result<(), ::ringmw::WireError> {
                let [#(#segments),*] = ::ringmw::__private::split::<#count>(#args)?;
                #(#checks)*
                ::std::result::Result::Ok(())
            }

            fn read_args(#args: &[u8]) -> ::std::result::Result<Self::Args, ::ringmw::WireError> {
                let [#(#segments),*] = ::ringmw::__private::split::<#count>(#args)?;
                ::std::result::Result::Ok((#(#owned_reads?,)*))
            }

            fn run(
                #args: &[u8],
                #cx: &mut ::ringmw::Cx,
                #out: &mut ::std::vec::Vec<u8>,
            ) -> ::std::result::Result<(), ::ringmw::RunError> {
                let [#(#segments),*] = ::ringmw::__private::split::<#count>(#args)?;
                #(#reads)*
                ::ringmw::__private::finish(#name(#(#passed),*), #out)
            }
        }

        #converses
    }
}

/// What says when the function is there and what it is holds for the type too.
fn kept_attributes(attributes: &[Attribute]) -> Vec<&Attribute> {
    attributes
        .iter()
        .filter(|attribute| {
            ["cfg", "doc"]
                .iter()
                .any(|kept| attribute.path().is_ident(kept))
        })
        .collect()
}
