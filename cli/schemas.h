#pragma once
// The JSON Schemas of reports/schema as compiled in by embed_schemas.cmake; ends with a null name.
namespace vramplan::cli {

struct EmbeddedSchema {
  const char* name;
  const char* text;
};
extern const EmbeddedSchema kSchemas[];

}  // namespace vramplan::cli
