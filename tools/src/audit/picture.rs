//! Rectangles, lines, areas, text and one kind of image: drawn as SVG, or as pixels for PNG.
//!
//! No fonts and no network: SVG names the reader's own sans-serif, PNG has a bitmap font in the program.

use std::fmt::Write;

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};
use tiny_skia::{
    Color, FillRule, FilterQuality, Paint, PathBuilder, Pixmap, PixmapPaint, Rect, Stroke,
    Transform,
};

pub(crate) type Rgb = [u8; 3];

/// Where a text stands to its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// Things that belong together in the page.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Group {
    /// What a reader can zoom into: nothing of it is seen outside of this rectangle.
    Plot {
        x: f32,
        y: f32,
        width: f32,
        height: f32,
    },
    /// Labels of the axis of time.
    Ticks,
}

enum Item {
    Open(Group),
    Close,
    /// A line across at an event, with what happened.
    Mark {
        x: f32,
        top: f32,
        floor: f32,
        text: String,
    },
    Rect {
        x: f32,
        y: f32,
        width: f32,
        height: f32,
        fill: Rgb,
    },
    Line {
        points: Vec<(f32, f32)>,
        stroke: Rgb,
        width: f32,
    },
    Area {
        points: Vec<(f32, f32)>,
        fill: Rgb,
    },
    Text {
        x: f32,
        y: f32,
        text: String,
        anchor: Anchor,
        is_title: bool,
        /// Beside something of the plot: out of place when the plot is zoomed.
        is_free: bool,
        fill: Rgb,
    },
    Image {
        x: f32,
        y: f32,
        width: f32,
        height: f32,
        pixels: Pixmap,
    },
}

/// What was drawn, in the order in which it was.
pub(crate) struct Picture {
    pub(crate) width: f32,
    pub(crate) height: f32,
    /// For those who do not see it.
    pub(crate) alt: String,
    /// For the page's script: what is where, as JSON.
    pub(crate) hover: Option<String>,
    items: Vec<Item>,
}

pub(crate) const INK: Rgb = [0x26, 0x2b, 0x33];
pub(crate) const FAINT: Rgb = [0x6b, 0x72, 0x80];
pub(crate) const GRID: Rgb = [0xe3, 0xe6, 0xea];

impl Picture {
    pub(crate) fn new(width: f32, height: f32, alt: impl Into<String>) -> Self {
        Self {
            width,
            height,
            alt: alt.into(),
            hover: None,
            items: Vec::new(),
        }
    }

    pub(crate) fn open(&mut self, group: Group) {
        self.items.push(Item::Open(group));
    }

    pub(crate) fn close(&mut self) {
        self.items.push(Item::Close);
    }

    pub(crate) fn mark(&mut self, x: f32, top: f32, floor: f32, text: String) {
        self.items.push(Item::Mark {
            x,
            top,
            floor,
            text,
        });
    }

    pub(crate) fn rect(&mut self, x: f32, y: f32, width: f32, height: f32, fill: Rgb) {
        if width > 0.0 && height > 0.0 {
            self.items.push(Item::Rect {
                x,
                y,
                width,
                height,
                fill,
            });
        }
    }

    pub(crate) fn line(&mut self, points: Vec<(f32, f32)>, stroke: Rgb, width: f32) {
        if points.len() > 1 {
            self.items.push(Item::Line {
                points,
                stroke,
                width,
            });
        }
    }

    pub(crate) fn area(&mut self, points: Vec<(f32, f32)>, fill: Rgb) {
        if points.len() > 2 {
            self.items.push(Item::Area { points, fill });
        }
    }

    pub(crate) fn text(
        &mut self,
        x: f32,
        y: f32,
        text: impl Into<String>,
        anchor: Anchor,
        fill: Rgb,
    ) {
        self.write(x, y, text.into(), anchor, fill, (false, false));
    }

    /// A text beside something of the plot.
    pub(crate) fn free_text(
        &mut self,
        x: f32,
        y: f32,
        text: impl Into<String>,
        anchor: Anchor,
        fill: Rgb,
    ) {
        self.write(x, y, text.into(), anchor, fill, (false, true));
    }

    fn write(
        &mut self,
        x: f32,
        y: f32,
        text: String,
        anchor: Anchor,
        fill: Rgb,
        (is_title, is_free): (bool, bool),
    ) {
        self.items.push(Item::Text {
            x,
            y,
            text,
            anchor,
            is_title,
            is_free,
            fill,
        });
    }

    pub(crate) fn title(&mut self, x: f32, y: f32, text: impl Into<String>) {
        self.write(x, y, text.into(), Anchor::Start, INK, (true, false));
    }

    /// Cells of one colour each, row by row from the top left.
    pub(crate) fn image(
        &mut self,
        x: f32,
        y: f32,
        width: f32,
        height: f32,
        columns: u32,
        cells: &[Rgb],
    ) {
        let rows = (cells.len() as u32).checked_div(columns).unwrap_or(0);
        let Some(mut pixels) = Pixmap::new(columns, rows) else {
            return;
        };
        for (pixel, &[red, green, blue]) in pixels.data_mut().chunks_exact_mut(4).zip(cells) {
            pixel.copy_from_slice(&[red, green, blue, 255]);
        }
        self.items.push(Item::Image {
            x,
            y,
            width,
            height,
            pixels,
        });
    }

    /// A picture that stands for itself.
    pub(crate) fn svg(&self) -> String {
        self.svg_in(None)
    }

    /// A picture of a page, with what its script needs; `number` is another for each.
    pub(crate) fn svg_of_page(&self, number: usize) -> String {
        self.svg_in(Some(number))
    }

    fn svg_in(&self, number: Option<usize>) -> String {
        let (width, height) = (self.width, self.height);
        let hover = match (&self.hover, number) {
            (Some(hover), Some(_)) => format!(" data-hover=\"{}\"", escape(hover)),
            _ => String::new(),
        };
        let number = number.unwrap_or(0);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\"{hover} \
             font-family=\"system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif\"><title>{}</title>\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n",
            escape(&self.alt)
        );
        for item in &self.items {
            let _ = match item {
                Item::Open(Group::Plot {
                    x,
                    y,
                    width,
                    height,
                }) => write!(
                    svg,
                    "<clipPath id=\"plot{number}\"><rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/></clipPath>\
                     <g clip-path=\"url(#plot{number})\"><g class=\"plot\">"
                ),
                // One more, so that every group is closed alike.
                Item::Open(Group::Ticks) => write!(svg, "<g><g class=\"ticks\">"),
                Item::Close => writeln!(svg, "</g></g>"),
                Item::Mark {
                    x,
                    top,
                    floor,
                    text,
                } => writeln!(
                    svg,
                    "<line x1=\"{x:.1}\" y1=\"{top:.1}\" x2=\"{x:.1}\" y2=\"{floor:.1}\" stroke=\"{}\" stroke-dasharray=\"3 3\"><title>{}</title></line>",
                    hex(INK),
                    escape(text)
                ),
                Item::Rect {
                    x,
                    y,
                    width,
                    height,
                    fill,
                } => writeln!(
                    svg,
                    "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.2}\" height=\"{height:.2}\" fill=\"{}\"/>",
                    hex(*fill)
                ),
                Item::Line {
                    points,
                    stroke,
                    width,
                } => writeln!(
                    svg,
                    "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{width}\" stroke-linejoin=\"round\"/>",
                    list(points),
                    hex(*stroke)
                ),
                Item::Area { points, fill } => writeln!(
                    svg,
                    "<polygon points=\"{}\" fill=\"{}\"/>",
                    list(points),
                    hex(*fill)
                ),
                Item::Text {
                    x,
                    y,
                    text,
                    anchor,
                    is_title,
                    is_free,
                    fill,
                } => writeln!(
                    svg,
                    "<text{} x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{}\" font-weight=\"{}\" text-anchor=\"{}\" fill=\"{}\">{}</text>",
                    if *is_free { " class=\"free\"" } else { "" },
                    if *is_title { 16 } else { 13 },
                    if *is_title { 600 } else { 400 },
                    match anchor {
                        Anchor::Start => "start",
                        Anchor::Middle => "middle",
                        Anchor::End => "end",
                    },
                    hex(*fill),
                    escape(text)
                ),
                Item::Image {
                    x,
                    y,
                    width,
                    height,
                    pixels,
                } => writeln!(
                    svg,
                    "<image x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" preserveAspectRatio=\"none\" \
                     style=\"image-rendering:pixelated\" href=\"data:image/png;base64,{}\"/>",
                    base64(&pixels.encode_png().unwrap_or_default())
                ),
            };
        }
        svg + "</svg>\n"
    }

    pub(crate) fn png(&self) -> Result<Vec<u8>, String> {
        let mut pixmap =
            Pixmap::new(self.width as u32, self.height as u32).ok_or("a picture without area")?;
        pixmap.fill(Color::WHITE);
        for item in &self.items {
            draw(&mut pixmap, item);
        }
        pixmap.encode_png().map_err(|error| error.to_string())
    }
}

fn paint(fill: Rgb) -> Paint<'static> {
    let mut paint = Paint::default();
    paint.set_color_rgba8(fill[0], fill[1], fill[2], 255);
    paint
}

fn path(points: &[(f32, f32)]) -> Option<tiny_skia::Path> {
    let mut path = PathBuilder::new();
    let (first, rest) = points.split_first()?;
    path.move_to(first.0, first.1);
    for point in rest {
        path.line_to(point.0, point.1);
    }
    path.finish()
}

fn draw(pixmap: &mut Pixmap, item: &Item) {
    let still = Transform::identity();
    match item {
        Item::Open(_) | Item::Close => {}
        Item::Mark { x, top, floor, .. } => {
            // On whole pixels: a hairline between two would be grey.
            if let Some(rect) = Rect::from_xywh(x.floor(), *top, 1.0, floor - top) {
                let mut paint = paint(INK);
                paint.anti_alias = false;
                pixmap.fill_rect(rect, &paint, still, None);
            }
        }
        Item::Rect {
            x,
            y,
            width,
            height,
            fill,
        } => {
            if let Some(rect) = Rect::from_xywh(*x, *y, *width, *height) {
                pixmap.fill_rect(rect, &paint(*fill), still, None);
            }
        }
        Item::Line {
            points,
            stroke,
            width,
        } => {
            if let Some(path) = path(points) {
                let stroke_form = Stroke {
                    width: *width,
                    ..Stroke::default()
                };
                pixmap.stroke_path(&path, &paint(*stroke), &stroke_form, still, None);
            }
        }
        Item::Area { points, fill } => {
            if let Some(path) = path(points) {
                pixmap.fill_path(&path, &paint(*fill), FillRule::Winding, still, None);
            }
        }
        Item::Text {
            x,
            y,
            text,
            anchor,
            is_title,
            fill,
            ..
        } => write_text(pixmap, (*x, *y), text, *anchor, *is_title, *fill),
        Item::Image {
            x,
            y,
            width,
            height,
            pixels,
        } => {
            let scale = Transform::from_row(
                width / pixels.width() as f32,
                0.0,
                0.0,
                height / pixels.height() as f32,
                *x,
                *y,
            );
            let paint = PixmapPaint {
                quality: FilterQuality::Nearest,
                ..PixmapPaint::default()
            };
            pixmap.draw_pixmap(0, 0, pixels.as_ref(), &paint, scale, None);
        }
    }
}

fn write_text(
    pixmap: &mut Pixmap,
    at: (f32, f32),
    text: &str,
    anchor: Anchor,
    is_title: bool,
    fill: Rgb,
) {
    let (weight, size) = (
        FontWeight::Regular,
        if is_title {
            RasterHeight::Size20
        } else {
            RasterHeight::Size16
        },
    );
    let advance = get_raster_width(weight, size);
    let length = text.chars().count() * advance;
    let left = match anchor {
        Anchor::Start => at.0 as i64,
        Anchor::Middle => at.0 as i64 - length as i64 / 2,
        Anchor::End => at.0 as i64 - length as i64,
    };
    // The raster's baseline is at about four fifths of its height.
    let top = at.1 as i64 - size.val() as i64 * 4 / 5;
    let (width, height) = (pixmap.width() as i64, pixmap.height() as i64);
    let data = pixmap.data_mut();
    for (index, char) in text.chars().enumerate() {
        let Some(glyph) = get_raster(char, weight, size).or_else(|| get_raster('?', weight, size))
        else {
            continue;
        };
        for (row, line) in glyph.raster().iter().enumerate() {
            for (column, &ink) in line.iter().enumerate() {
                let (x, y) = (left + (index * advance + column) as i64, top + row as i64);
                if ink == 0 || !(0..width).contains(&x) || !(0..height).contains(&y) {
                    continue;
                }
                let pixel = &mut data[((y * width + x) * 4) as usize..][..3];
                for (under, over) in pixel.iter_mut().zip(fill) {
                    let (ink, paper) = (u32::from(ink), u32::from(*under));
                    *under = ((paper * (255 - ink) + u32::from(over) * ink) / 255) as u8;
                }
            }
        }
    }
}

fn hex([red, green, blue]: Rgb) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

fn list(points: &[(f32, f32)]) -> String {
    points
        .iter()
        .map(|(x, y)| format!("{x:.1},{y:.1}"))
        .collect::<Vec<_>>()
        .join(" ")
}

/// For text and attributes of XML and HTML; what neither can hold is a question mark.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            char if char.is_control() && char != '\n' => escaped.push('?'),
            char => escaped.push(char),
        }
    }
    escaped
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .fold(0u32, |group, &byte| group << 8 | u32::from(byte))
            << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let is_there = digit <= chunk.len();
            text.push(if is_there {
                DIGITS[(group >> (18 - 6 * digit) & 63) as usize] as char
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_every_length() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn text_cannot_break_out() {
        let mut picture = Picture::new(10.0, 10.0, "<script>");
        picture.text(1.0, 1.0, "\"</svg><script>\u{1}&", Anchor::End, INK);
        let svg = picture.svg();
        assert!(!svg.contains("<script>"), "{svg}");
        assert!(
            svg.contains("&quot;&lt;/svg&gt;&lt;script&gt;?&amp;"),
            "{svg}"
        );
        assert!(picture.png().is_ok_and(|png| png.starts_with(b"\x89PNG")));
    }
}
