//! Events as rows of a Parquet file: a column for each thing an event can tell.

use std::sync::Arc;

use parquet::{
    basic::{LogicalType, Repetition, TimeUnit, Type as Physical},
    data_type::{ByteArray, ByteArrayType, DataType, Int64Type},
    errors::ParquetError,
    file::{
        properties::WriterProperties,
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::types::Type,
};
use serde_json::Value;

use super::Event;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Instant,
    Number,
    /// What is not a text is its JSON: lists, counts by name.
    Text,
}

/// The columns, by the names events are told under everywhere else.
const COLUMNS: [(&str, Kind); 30] = [
    ("leaf", Kind::Number),
    ("time", Kind::Instant),
    ("hash", Kind::Text),
    ("phase", Kind::Text),
    ("content", Kind::Text),
    ("request", Kind::Text),
    ("run", Kind::Text),
    ("approval", Kind::Text),
    ("principal", Kind::Text),
    ("kind", Kind::Text),
    ("client", Kind::Text),
    ("remote", Kind::Text),
    ("method", Kind::Text),
    ("path", Kind::Text),
    ("action", Kind::Text),
    ("resource", Kind::Text),
    ("effect", Kind::Text),
    ("decision", Kind::Text),
    ("policy", Kind::Text),
    ("rules", Kind::Text),
    ("roles", Kind::Text),
    ("grants", Kind::Text),
    ("step", Kind::Text),
    ("control", Kind::Text),
    ("refused", Kind::Text),
    ("masked", Kind::Text),
    ("upstream_status", Kind::Number),
    ("status", Kind::Number),
    ("ended", Kind::Text),
    ("bytes", Kind::Number),
];

/// The file. The same events give the same bytes.
pub(super) fn file(events: &[Event]) -> Result<Vec<u8>, String> {
    let rows: Vec<Value> = events
        .iter()
        .map(serde_json::to_value)
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())?;
    write(events, &rows).map_err(|error| error.to_string())
}

fn write(events: &[Event], rows: &[Value]) -> Result<Vec<u8>, ParquetError> {
    let properties = WriterProperties::builder().set_created_by("crewgate".to_owned()).build();
    let mut out = Vec::new();
    let mut file = SerializedFileWriter::new(&mut out, Arc::new(schema()?), Arc::new(properties))?;
    let mut group = file.next_row_group()?;
    for (name, kind) in COLUMNS {
        let cells = rows.iter().map(|row| row.get(name));
        match kind {
            Kind::Instant => {
                column::<Int64Type>(&mut group, events.iter().map(|event| Some(event.time.as_micros())))?;
            }
            Kind::Number => {
                let number = |cell: Option<&Value>| cell.and_then(Value::as_i64);
                column::<Int64Type>(&mut group, cells.map(number))?;
            }
            Kind::Text => {
                let text = |cell: Option<&Value>| match cell? {
                    Value::String(text) => Some(ByteArray::from(text.as_str())),
                    other => Some(ByteArray::from(other.to_string().into_bytes())),
                };
                column::<ByteArrayType>(&mut group, cells.map(text))?;
            }
        }
    }
    group.close()?;
    file.close()?;
    Ok(out)
}

fn schema() -> Result<Type, ParquetError> {
    let fields = COLUMNS.map(|(name, kind)| {
        let (physical, logical) = match kind {
            Kind::Instant => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS))),
            Kind::Number => (Physical::INT64, None),
            Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        let field = Type::primitive_type_builder(name, physical).with_repetition(Repetition::OPTIONAL);
        field.with_logical_type(logical).build().map(Arc::new)
    });
    let fields = fields.into_iter().collect::<Result<_, _>>()?;
    Type::group_type_builder("leaf").with_fields(fields).build()
}

/// Writes the next column; what is not there is NULL.
fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, &mut Vec<u8>>,
    cells: impl Iterator<Item = Option<T::T>>,
) -> Result<(), ParquetError> {
    let cells: Vec<Option<T::T>> = cells.collect();
    let levels: Vec<i16> = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
    let values: Vec<T::T> = cells.into_iter().flatten().collect();
    let column = group.next_column()?;
    let mut column = column.ok_or_else(|| ParquetError::General("there are no more columns".to_owned()))?;
    column.typed::<T>().write_batch(&values, Some(&levels), None)?;
    column.close()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bytes::Bytes;
    use parquet::{
        file::reader::{FileReader, SerializedFileReader},
        record::Field,
    };

    use super::*;
    use crate::export::event::tests::everything;

    #[test]
    fn whatever_an_event_can_tell_has_its_column() {
        let event = serde_json::to_value(everything()).unwrap();
        let told: BTreeSet<&str> = event.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(told, COLUMNS.iter().map(|(name, _)| *name).collect());
    }

    #[test]
    fn what_is_written_is_read_and_what_is_not_told_is_null() {
        let bare = Event { facts: super::super::event::Facts::default(), leaf: 8, ..everything() };
        let events = [everything(), bare];
        let bytes = file(&events).unwrap();
        assert_eq!(file(&events).unwrap(), bytes, "the same each time");
        let reader = SerializedFileReader::new(Bytes::from(bytes)).unwrap();
        let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
        let cell = |row: usize, name: &str| {
            rows[row].get_column_iter().find(|(column, _)| *column == name).unwrap().1.clone()
        };
        assert_eq!((rows.len(), cell(1, "leaf")), (2, Field::Long(8)));
        assert_eq!(cell(0, "time"), Field::TimestampMicros(events[0].time.as_micros()));
        assert_eq!(cell(0, "principal"), Field::Str(events[0].facts.principal.clone().unwrap()));
        assert_eq!(cell(0, "rules"), Field::Str(serde_json::to_string(&events[0].facts.rules).unwrap()));
        assert_eq!((cell(1, "principal"), cell(1, "status")), (Field::Null, Field::Null));
    }
}
