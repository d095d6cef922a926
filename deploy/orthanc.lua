-- Orthanc sends CT to the node. Name this file in "LuaScripts" of Orthanc's settings, and the node in
-- "DicomModalities" as "abdobox".
--
-- A series is sent when nothing was added to it for "StableAge" seconds. Results (SEG, RTSTRUCT) are
-- no CT and are not sent, so that nothing goes round in circles. The job waits for nobody: Orthanc goes on.
function OnStableSeries(seriesId, tags, metadata)
  if tags['Modality'] == 'CT' then
    local body = { Resources = { seriesId }, Synchronous = false }
    RestApiPost('/modalities/abdobox/store', DumpJson(body, true))
  end
end
