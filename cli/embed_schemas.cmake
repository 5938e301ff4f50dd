# Writes OUTPUT: a table {name, text} of the JSON Schemas in FOLDER, by file name without .json.
file(GLOB files ${FOLDER}/*.json)
list(SORT files)
set(rows "")
foreach(file ${files})
  get_filename_component(name ${file} NAME_WE)
  file(READ ${file} text)
  string(APPEND rows "  {\"${name}\", R\"~schema~(${text})~schema~\"},\n")
endforeach()
file(WRITE ${OUTPUT}.new "#include \"cli/schemas.h\"\n"
  "namespace vramplan::cli {\n"
  "const EmbeddedSchema kSchemas[] = {\n${rows}  {nullptr, nullptr}};\n"
  "}  // namespace vramplan::cli\n")
file(COPY_FILE ${OUTPUT}.new ${OUTPUT} ONLY_IF_DIFFERENT)
file(TOUCH_NOCREATE ${OUTPUT})
