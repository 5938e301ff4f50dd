# Writes OUTPUT: a table {name, text} of the YAML files in FOLDER, by file name without .yaml.
file(GLOB files ${FOLDER}/*.yaml)
list(SORT files)
set(rows "")
foreach(file ${files})
  get_filename_component(name ${file} NAME_WE)
  file(READ ${file} text)
  string(APPEND rows "  {\"${name}\", R\"~table~(${text})~table~\"},\n")
endforeach()
file(WRITE ${OUTPUT}.new "#include \"planner/engines/engine_table.h\"\n"
  "namespace vramplan {\n"
  "const EmbeddedTable kEngineTables[] = {\n${rows}  {nullptr, nullptr}};\n"
  "}  // namespace vramplan\n")
file(COPY_FILE ${OUTPUT}.new ${OUTPUT} ONLY_IF_DIFFERENT)
file(TOUCH_NOCREATE ${OUTPUT})
